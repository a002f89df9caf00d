"""A FinetuneSpec as the Python that says the same to transformers, peft and trl. Pure."""

from collections.abc import Mapping
from math import gcd
from typing import Any

from worker.contract.objective import Sft
from worker.contract.quantization import BitsAndBytes4Bit, BitsAndBytes8Bit
from worker.contract.spec import FinetuneSpec
from worker.contract.targets import ATTENTION, QUERIES_AND_VALUES


def as_python(spec: FinetuneSpec, *, dataset_file: str, rows_format: str = "") -> str:
    """Runs outside Nibble; what Nibble adds of its own (masking, checks, events) is not in it."""
    parts = [_imports(spec), _model(spec), _lora(spec), _training(spec, rows_format), _trainer(spec, dataset_file)]
    return "\n\n".join(part for part in parts if part)


TRAINERS = {"sft": "SFT", "dpo": "DPO", "orpo": "ORPO", "kto": "KTO", "reward": "Reward"}
"""The first part of the names of TRL's trainer and its config."""


def _imports(spec: FinetuneSpec) -> str:
    trainer = TRAINERS[spec.objective.kind]
    quantised = () if spec.quantization.kind == "none" else ("BitsAndBytesConfig",)
    stops: tuple[str, ...] = ("EarlyStoppingCallback",) if spec.training.early_stopping_patience else ()
    stops += ("AutoTokenizer",) if spec.objective.kind == "orpo" else ()
    lines = ["import torch", "from datasets import load_dataset"]
    lines += [] if spec.is_full else ["from peft import LoraConfig"]
    lines.append(f"from transformers import {', '.join(sorted((_model_class(spec), *quantised, *stops)))}")
    lines.append(f"from {'trl.experimental.orpo' if trainer == 'ORPO' else 'trl'} import {trainer}Config, {trainer}Trainer")
    if spec.plan.num_processes > 1:
        split = " --use_fsdp" if spec.plan.fsdp else ""
        lines.insert(0, f"# Run with: accelerate launch --num_processes {spec.plan.num_processes}{split} this_file.py")
    return "\n".join(lines)


def _model_class(spec: FinetuneSpec) -> str:
    return "AutoModelForSequenceClassification" if spec.objective.kind == "reward" else "AutoModelForCausalLM"


def _model(spec: FinetuneSpec) -> str:
    arguments: dict[str, str] = {}
    if spec.base_model.revision:
        arguments["revision"] = repr(spec.base_model.revision)
    if spec.objective.kind == "reward":
        arguments["num_labels"] = "1"
    if spec.quantization.kind != "none":
        arguments["quantization_config"] = "quantization"
    if not isinstance(spec.quantization, BitsAndBytes4Bit):
        arguments["dtype"] = "torch.float32" if spec.is_full else f"torch.{spec.quantization.dtype}"
    call = _call(f"{_model_class(spec)}.from_pretrained", arguments, first=repr(spec.base_model.name_or_path))
    return f"{_quantization(spec.quantization)}model = {call}"


def _quantization(quantization: Any) -> str:
    if quantization.kind == "none":
        return ""
    left_out = {"kind", "load_in_4bit", "dtype"} if isinstance(quantization, BitsAndBytes8Bit) else {"kind"}
    values = _reprs(quantization.model_dump(exclude=left_out))
    if isinstance(quantization, BitsAndBytes4Bit):
        values["bnb_4bit_compute_dtype"] = f"torch.{quantization.bnb_4bit_compute_dtype}"
    return f"quantization = {_call('BitsAndBytesConfig', values)}\n"


def _lora(spec: FinetuneSpec) -> str:
    if spec.is_full:
        return ""
    values = spec.lora.model_dump()
    task = "SEQ_CLS" if spec.objective.kind == "reward" else "CAUSAL_LM"  # SEQ_CLS trains and saves the score head too
    return f"lora = {_call('LoraConfig', {'task_type': repr(task), **_reprs({**values, 'target_modules': _targets(spec)})})}"


def _targets(spec: FinetuneSpec) -> str | list[str]:
    """PEFT takes the names that the model has, and needs one of them at least."""
    asked = spec.lora.target_modules
    if asked == "auto":
        return "all-linear"
    return list({"attention": ATTENTION, "q_and_v": QUERIES_AND_VALUES}[asked] if isinstance(asked, str) else asked)


NOT_OF_CONFIG = {
    "early_stopping_patience",
    "early_stopping_threshold",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
}


def _training(spec: FinetuneSpec, rows_format: str) -> str:
    training = spec.training
    rows, passes = _on_each_gpu(spec)
    values: dict[str, Any] = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": passes}
    values |= {**spec.optimizer.model_dump(), **training.model_dump(exclude_none=True, exclude=NOT_OF_CONFIG)}
    values |= _evaluation(spec)
    if not spec.is_evaluated:
        values.pop("eval_steps", None)
    values |= _of_objective(spec, rows_format)
    return f"training = {_call(f'{TRAINERS[spec.objective.kind]}Config', {'output_dir': repr('run'), **_reprs(values)})}"


def _on_each_gpu(spec: FinetuneSpec) -> tuple[int, int]:
    """(rows a pass, passes a step): accelerate counts them for each GPU, the spec for all together."""
    rows, passes = spec.training.per_device_train_batch_size, spec.training.gradient_accumulation_steps
    share = gcd(passes, spec.plan.num_processes)
    return max(1, rows * share // spec.plan.num_processes), passes // share


def _evaluation(spec: FinetuneSpec) -> dict[str, Any]:
    if not (spec.is_evaluated and spec.training.eval_steps):
        return {}
    values: dict[str, Any] = {"eval_strategy": "steps"}
    if spec.training.load_best_model_at_end or spec.training.early_stopping_patience:
        values |= {"metric_for_best_model": "eval_loss", "save_steps": spec.training.eval_steps}  # what was measured is saved
    return values


def _of_objective(spec: FinetuneSpec, rows_format: str) -> dict[str, Any]:
    values: dict[str, Any] = spec.objective.model_dump(exclude={"kind"}, exclude_none=True)
    if isinstance(spec.objective, Sft):
        whole = spec.data.train_on == "whole_row"
        if rows_format == "prompt_completion":
            values["completion_only_loss"] = not whole
        elif rows_format in ("", "messages") and not whole:
            values["assistant_only_loss"] = True
    return values


def _trainer(spec: FinetuneSpec, dataset_file: str) -> str:
    lines = [f'rows = load_dataset("json", data_files={dataset_file!r})["train"]']
    arguments = {"model": "model", "args": "training", "train_dataset": "rows"}
    if not spec.is_full:
        arguments["peft_config"] = "lora"
    if spec.data.eval_share:
        lines.append(f"split = rows.train_test_split(test_size={spec.data.eval_share}, seed={spec.training.seed})")
        arguments |= {"train_dataset": 'split["train"]', "eval_dataset": 'split["test"]'}
    if name := spec.data.dataset_test_split:
        lines.append(f'held_out = load_dataset("json", data_files={f"{name}.jsonl"!r})["train"]  # the rows marked as {name}')
        arguments |= {"eval_dataset": "held_out"}
    if patience := spec.training.early_stopping_patience:
        arguments["callbacks"] = f"[EarlyStoppingCallback({patience}, {spec.training.early_stopping_threshold})]"
    if spec.objective.kind == "orpo":
        lines.append(f"tokenizer = AutoTokenizer.from_pretrained({spec.base_model.name_or_path!r})")
        arguments["processing_class"] = "tokenizer"
    lines += [f"trainer = {_call(f'{TRAINERS[spec.objective.kind]}Trainer', arguments)}", "trainer.train()"]
    lines += ["print(trainer.evaluate())"] if spec.is_evaluated and not spec.training.eval_steps else []
    return "\n".join([*lines, f'trainer.save_model("{"model" if spec.is_full else "adapter"}")'])


def _reprs(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in values.items()}


def _call(name: str, arguments: Mapping[str, str], *, first: str = "") -> str:
    lines = [f"    {first},\n"] if first else []
    lines += [f"    {key}={value},\n" for key, value in arguments.items()]
    return f"{name}(\n{''.join(lines)})"
