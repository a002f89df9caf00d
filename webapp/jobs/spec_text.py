"""A FinetuneSpec as text to copy: YAML, JSON, and the Python that says the same to transformers, peft and trl. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from worker.contract.quantization import BitsAndBytes4Bit
from worker.contract.spec import FinetuneSpec


def as_json(spec: FinetuneSpec) -> str:
    return json.dumps(spec.model_dump(mode="json"), indent=2, ensure_ascii=False)


def as_yaml(spec: FinetuneSpec) -> str:
    return "\n".join(_yaml_lines(spec.model_dump(mode="json"), indent=""))


def _yaml_lines(block: Mapping[str, Any], *, indent: str) -> Iterator[str]:
    for name, value in block.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:"
            yield from _yaml_lines(value, indent=indent + "  ")
        else:
            yield f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}"  # JSON's scalars and lists are YAML


def as_python(spec: FinetuneSpec, *, dataset_file: str) -> str:
    """Runs outside Nibble; what Nibble adds of its own (masking, checks, events) is not in it."""
    parts = [_imports(spec), _model(spec), _lora(spec), _training(spec), _trainer(spec, dataset_file)]
    return "\n\n".join(parts)


def _imports(spec: FinetuneSpec) -> str:
    quantised = ", BitsAndBytesConfig" if spec.method == "QLoRA" else ""
    return (
        "import torch\nfrom datasets import load_dataset\nfrom peft import LoraConfig\n"
        f"from transformers import AutoModelForCausalLM{quantised}\nfrom trl import SFTConfig, SFTTrainer"
    )


def _model(spec: FinetuneSpec) -> str:
    arguments: dict[str, str] = {}
    if spec.base_model.revision:
        arguments["revision"] = repr(spec.base_model.revision)
    if isinstance(spec.quantization, BitsAndBytes4Bit):
        arguments["quantization_config"] = "quantization"
    else:
        arguments["dtype"] = f"torch.{spec.quantization.dtype}"
    call = _call("AutoModelForCausalLM.from_pretrained", arguments, first=repr(spec.base_model.name_or_path))
    return f"{_quantization(spec.quantization)}model = {call}"


def _quantization(quantization: Any) -> str:
    if not isinstance(quantization, BitsAndBytes4Bit):
        return ""
    values = {name: repr(value) for name, value in quantization.model_dump(exclude={"kind"}).items()}
    values["bnb_4bit_compute_dtype"] = f"torch.{quantization.bnb_4bit_compute_dtype}"
    return f"quantization = {_call('BitsAndBytesConfig', values)}\n"


def _lora(spec: FinetuneSpec) -> str:
    values = spec.lora.model_dump()
    modules = spec.lora.target_modules
    values["target_modules"] = "all-linear" if modules == "auto" else list(modules)
    return f"lora = {_call('LoraConfig', {'task_type': repr('CAUSAL_LM'), **_reprs(values)})}"


def _training(spec: FinetuneSpec) -> str:
    values = {**spec.optimizer.model_dump(), **spec.training.model_dump(exclude_none=True)}
    if spec.training.eval_steps:
        values["eval_strategy"] = "steps"
    if spec.data.train_on == "assistant":
        values["assistant_only_loss"] = True
    return f"training = {_call('SFTConfig', {'output_dir': repr('run'), **_reprs(values)})}"


def _trainer(spec: FinetuneSpec, dataset_file: str) -> str:
    lines = [f'rows = load_dataset("json", data_files={dataset_file!r})["train"]']
    arguments = {"model": "model", "args": "training", "peft_config": "lora", "train_dataset": "rows"}
    if spec.data.eval_share:
        lines.append(f"split = rows.train_test_split(test_size={spec.data.eval_share}, seed={spec.training.seed})")
        arguments |= {"train_dataset": 'split["train"]', "eval_dataset": 'split["test"]'}
    lines += [f"trainer = {_call('SFTTrainer', arguments)}", "trainer.train()", 'trainer.save_model("adapter")']
    return "\n".join(lines)


def _reprs(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in values.items()}


def _call(name: str, arguments: Mapping[str, str], *, first: str = "") -> str:
    lines = [f"    {first},\n"] if first else []
    lines += [f"    {key}={value},\n" for key, value in arguments.items()]
    return f"{name}(\n{''.join(lines)})"


def loading_snippet(spec: FinetuneSpec) -> str:
    """How to use a downloaded adapter, once its zip is unpacked into ./adapter."""
    base = spec.base_model.name_or_path
    pinned = f", revision={spec.base_model.revision!r}" if spec.base_model.revision else ""
    return (
        "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'base = AutoModelForCausalLM.from_pretrained({base!r}{pinned}, dtype="auto", device_map="auto")\n'
        'model = PeftModel.from_pretrained(base, "adapter")\n'
        'tokenizer = AutoTokenizer.from_pretrained("adapter")\n\n'
        'chat = [{"role": "user", "content": "Hello!"}]\n'
        'inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)\n'
        "reply = model.generate(**inputs.to(model.device), max_new_tokens=100)\n"
        'print(tokenizer.decode(reply[0][inputs["input_ids"].shape[1]:], skip_special_tokens=True))'
    )
