"""One configuration's run through the trainer's own recipe, in a process of its own, with the card's memory noted on the way."""

import json
import shutil
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.gpu.memory_grid import MODELS, STORED, Configuration
from tests.worker.qlora.runs import write_run
from tests.worker.tiny_tokenizer import WORDS, tiny_tokenizer
from worker.contract.plan import ExecutionPlan, PassPlan
from worker.contract.run_directory import RunDirectory

STEPS = 3  # states are made in the first, the second finds them
SLICE_TOKENS = 2048


def make_model(name: str, folder: Path) -> None:
    """With random weights in bf16, made on the device; in a process of its own."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = tiny_tokenizer()
    given = {key: value for key, value in MODELS[name].items() if key not in ("model_type", "architectures")}
    tokens = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(MODELS[name]["model_type"], **given | tokens)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(configuration: Configuration, *, model: Path, folder: Path, result: Path) -> None:
    """Writes the result whatever happens; what it left on the disk is removed."""
    found: dict[str, Any] = {"name": configuration.name, "configuration": asdict(configuration)}
    try:
        run = written(configuration, model=model, folder=folder)
        found |= {"spec": json.loads(run.order.read_text())["spec"], "model": json.loads((model / "config.json").read_text())}
        found |= trained(configuration, run=run)
    except BaseException as error:
        traceback.print_exc()
        found["problem"] = f"{type(error).__name__}: {str(error)[:400]}"
    result.write_text(json.dumps(found, default=str))
    shutil.rmtree(folder, ignore_errors=True)


def written(configuration: Configuration, *, model: Path, folder: Path) -> RunDirectory:
    blocks: dict[str, Any] = {
        "quantization": STORED[configuration.stored],
        "lora": {
            "r": configuration.r,
            "lora_alpha": 32,
            "lora_dropout": configuration.dropout,
            "target_modules": configuration.targets,
            **configuration.extra.get("lora", {}),
        },
        "optimizer": {"optim": configuration.optim, "learning_rate": 1e-4, "warmup_steps": 0},
        "training": {
            "max_steps": STEPS,
            "max_length": configuration.length,
            "per_device_train_batch_size": configuration.rows,
            "gradient_accumulation_steps": configuration.passes,
            "activation_checkpointing": configuration.recomputed_layers > 0,
        },
    }
    execution = "plain" if configuration.execution == "plain" else "auto"
    run = write_run(folder, model=model, rows=rows_of(configuration), name=configuration.name, execution=execution, **blocks)
    order = json.loads(run.order.read_text())
    order["spec"]["training"] |= configuration.extra.get("training", {})
    order["spec"] |= {name: block for name, block in configuration.extra.items() if name not in ("lora", "training")}
    order["dataset"]["format"] = "preference" if "objective" in configuration.extra else "text"
    run.order.write_text(json.dumps(order))
    return run


def rows_of(configuration: Configuration) -> list[dict[str, Any]]:
    """Mixed ones have a third of the length to all of it; the others more than all of it, and are cut."""
    import random

    dice, tokenizer = random.Random(0), tiny_tokenizer()
    words = WORDS.split()
    a_word = len(tokenizer(WORDS)["input_ids"]) / len(words)

    def text(tokens: float) -> str:
        return " ".join(dice.choices(words, k=max(round(tokens / a_word), 4)))

    count = configuration.rows * configuration.passes * STEPS
    shares = [dice.uniform(0.33, 1.0) if configuration.is_mixed else 1.5 for _ in range(count)]
    sizes = [share * configuration.length for share in shares]
    if "objective" in configuration.extra:
        # none is cut: reward modelling leaves longer pairs out
        return [{"prompt": text(size / 8), "chosen": text(size * 0.4), "rejected": text(size * 0.4)} for size in sizes]
    return [{"text": text(size)} for size in sizes]


def trained(configuration: Configuration, *, run: RunDirectory) -> dict[str, Any]:
    import torch

    from worker.contract.events import PlanMade, TrainingEnded
    from worker.qlora import __main__ as trainer

    noted: dict[str, Any] = {"marks": {}}
    on_card = torch.cuda.is_available()
    if on_card:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        noted["marks"]["begun"] = mark()
    watch(configuration, noted)
    code = trainer.main([str(run.path)])
    if on_card:
        noted["marks"]["ended"] = mark()
    from tests.worker.qlora.runs import events_of

    events = events_of(run)
    plans = [event for event in events if isinstance(event, PlanMade)]
    noted["plan"] = plans[0].model_dump(mode="json") if plans else None
    last = events[-1]
    if code or not isinstance(last, TrainingEnded):
        said = f"{getattr(last, 'cause', '')}: {getattr(last, 'message', last)}"
        return {**noted, "problem": said}
    peak = max((mark["peak"] for mark in noted["marks"].values()), default=0)
    return {
        **noted,
        "peak_allocated": peak,
        "losses": [last.results.first_loss, last.results.final_loss],
        "problem": asked_for(noted),
    }


def asked_for(noted: dict[str, Any]) -> str:
    """Empty when the run was what the configuration says: a trainer may not know a method yet."""
    return "" if noted.get("is_as_asked", True) else "skipped: the trainer ran something else than was asked for"


def mark() -> dict[str, int]:
    """The card now, and the peak since the last mark."""
    import torch

    free, total = torch.cuda.mem_get_info()
    found = {
        "allocated": torch.cuda.memory_allocated(),
        "peak": torch.cuda.max_memory_allocated(),
        "reserved": torch.cuda.memory_reserved(),
        "peak_reserved": torch.cuda.max_memory_reserved(),
        "used": total - free,
    }
    torch.cuda.reset_peak_memory_stats()
    return found


def watch(configuration: Configuration, noted: dict[str, Any]) -> None:
    """Forces the plan of a packed configuration, and notes memory between loading, making and each step."""
    from worker.qlora import recipe

    plan, make = getattr(recipe, "with_execution"), getattr(recipe, "make_trainer")  # noqa: B009  # the recipe does not export them

    def planned(prepared: Any, **rest: Any) -> Any:
        prepared = plan(prepared, **rest)
        choices = prepared.choices
        if configuration.execution == "plain" or choices.execution.kind == "plain":
            return prepared
        forced = forced_plan(configuration)
        return replace(prepared, choices=replace(choices, passes=forced.passes, execution=forced))

    def made(prepared: Any, *, model: Any, **rest: Any) -> Any:
        note("loaded", noted)
        trainer, progress = make(prepared, model=model, **rest)
        note("made", noted)
        look_at(trainer, prepared=prepared, configuration=configuration, noted=noted)
        trainer.add_callback(marks_of_steps(noted))
        return trainer, progress

    for name, replaced in (("with_execution", planned), ("make_trainer", made)):
        setattr(recipe, name, replaced)


def note(name: str, noted: dict[str, Any]) -> None:
    import torch

    if torch.cuda.is_available():
        noted["marks"][name] = mark()


def forced_plan(configuration: Configuration) -> ExecutionPlan:
    recomputed = configuration.recomputed_layers
    passes = PassPlan(
        per_device_train_batch_size=configuration.rows,
        gradient_accumulation_steps=configuration.passes,
        activation_checkpointing=recomputed > 0,
    )
    return ExecutionPlan(
        kind="packed",
        passes=passes,
        recomputed_layers=recomputed,
        on_host=configuration.on_host,
        feed_forward_tokens=SLICE_TOKENS if configuration.is_sliced else None,
        head_tokens=256 if configuration.is_sliced else 1024,
    )


def look_at(trainer: Any, *, prepared: Any, configuration: Configuration, noted: dict[str, Any]) -> None:
    """What really trains: the lengths of rows and of the largest pass, the types of the weights."""
    import numpy as np
    import torch

    parameters = list(trainer.model.named_parameters())
    columns = trainer.train_dataset.column_names
    lengths = [int(n) for n in trainer.train_dataset["length"]] if "length" in columns else []
    rows = prepared.choices.passes.per_device_train_batch_size
    filled = getattr(trainer.data_collator, "filled", None)
    noted["lengths"] = lengths
    if lengths:
        is_packed = filled is not None
        places = prepared.watched.data_order.largest_pass(
            np.asarray(lengths), rows_a_pass=rows, after_step=0, last_step=STEPS, is_padded=not is_packed
        )
        largest = [lengths[place] for place in places]
        tokens = sum(largest) if is_packed else max(largest) * len(largest)
        noted |= {"pass_tokens": tokens, "filled_tokens": filled(tokens) if filled is not None else tokens}
    noted["weights_of_types"] = by_type(parameters)
    noted["trainer"] = [kind.__name__ for kind in type(trainer).__mro__][:6]
    kinds = {type(module).__name__ for module in trainer.model.modules()}
    trained = sum(parameter.numel() for _, parameter in parameters if parameter.requires_grad)
    noted["trained_parameters"] = trained
    noted["attention"] = getattr(trainer.model.config, "_attn_implementation", "")
    names = " ".join(noted["trainer"])
    is_full = all(parameter.requires_grad for _, parameter in parameters)
    checks = {
        "packed": configuration.execution == "plain" or "Packed" in names,
        "objective": configuration.extra.get("objective", {}).get("kind", "") in names.lower(),
        "full": "finetuning_type" not in configuration.extra or is_full,
        "dora": "lora" not in configuration.extra or any("magnitude_vector" in name for name, _ in parameters),
        "8 bits": configuration.stored != "8 bits" or "Linear8bitLt" in kinds,
        "cuda": not torch.cuda.is_available() or "paged" not in configuration.optim or "paged" in prepared.choices.optim,
    }
    noted["checks"] = checks
    noted["is_as_asked"] = all(checks.values())


def by_type(parameters: list[tuple[str, Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for _, parameter in parameters:
        name = f"{parameter.dtype}{' trained' if parameter.requires_grad else ''}"
        entry = found.setdefault(name, {"tensors": 0, "numbers": 0, "bytes": 0})
        entry["tensors"] += 1
        entry["numbers"] += parameter.numel()
        entry["bytes"] += parameter.numel() * parameter.element_size()
    return found


def marks_of_steps(noted: dict[str, Any]) -> Any:
    """A callback; transformers is imported by now."""
    from transformers import TrainerCallback

    class Marks(TrainerCallback):  # type: ignore[misc]  # transformers' class has no types here
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            note("train begins", noted)

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            note(f"step {state.global_step + 1} begins", noted)

        def on_step_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
            note(f"step {state.global_step} ended", noted)
            if state.global_step == 1 and optimizer is not None:
                noted["states"] = states_of(optimizer)

    return Marks()


def states_of(optimizer: Any) -> dict[str, int]:
    import torch

    inner = getattr(optimizer, "optimizer", optimizer)
    tensors = [value for state in inner.state.values() for value in state.values() if torch.is_tensor(value)]
    paged = [tensor for tensor in tensors if getattr(tensor, "is_paged", False)]
    on_card = [tensor for tensor in tensors if tensor.is_cuda and not getattr(tensor, "is_paged", False)]
    return {
        "paged_bytes": sum(tensor.numel() * tensor.element_size() for tensor in paged),
        "on_card_bytes": sum(tensor.numel() * tensor.element_size() for tensor in on_card),
        "tensors": len(tensors),
    }
