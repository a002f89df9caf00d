"""A 65B-shaped model on a card of 48 GB: trained some steps through the trainer, its peak told.

    python -m tests.gpu.run_65b --tokenizer FOLDER --out bench/results [--shape 65b] [--limit-gib 44.7]

The base model is made of random weights and quantised layer by layer, so that it never exists in 16 bits: 130 GB that no disk here
has. Loading is the only part of the recipe that is replaced; plan, adapter, passes, optimizer and events are the trainer's own.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from tests.gpu.records import keep
from tests.worker.qlora.runs import events_of, told, write_run
from worker.contract.events import MemorySampled, MetricsLogged, PlanMade, TrainingEnded

ROWS = {"short": (512, 4), "long": (2048, 1)}
"""max_length, rows a step"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.run_65b")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a tokenizer with a chat template")
    parser.add_argument("--shape", default="65b")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--limit-gib", type=float, default=44.7, help="48 GB: what the trainer may take in all")
    parser.add_argument("--work", type=Path, default=Path("/tmp/nibble-65b"))
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    asked = parser.parse_args()
    os.environ["NIBBLE_TRAINER_MEMORY_GIB"] = str(asked.limit_gib)
    shutil.rmtree(asked.work, ignore_errors=True)
    folder, model = make_base(asked.work / "model", shape=asked.shape, tokenizer=asked.tokenizer)
    results = [trained(kind, folder=folder, model=model, asked=asked) for kind in ROWS]
    keep(asked.out / f"large_{asked.shape}.json", shape=asked.shape, limit_gib=asked.limit_gib, results=results)
    for result in results:
        print(json.dumps(result, indent=1))
    return 0 if all(result["peak_allocated_gib"] < asked.limit_gib for result in results) else 1


def make_base(folder: Path, *, shape: str, tokenizer: Path) -> tuple[Path, Any]:
    """What the trainer reads before it loads weights, and the weights themselves, on the device."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    from bench.random_models import random_llama

    began = time.monotonic()
    model = random_llama(shape, nf4=True, device="cuda" if torch.cuda.is_available() else "cpu")
    folder.mkdir(parents=True)
    model.config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    save_file({"seed": torch.zeros(1)}, folder / "model.safetensors")
    print(f"Model made in {time.monotonic() - began:.0f} s", flush=True)
    return folder, model


def trained(kind: str, *, folder: Path, model: Any, asked: argparse.Namespace) -> dict[str, Any]:
    from worker.qlora import recipe
    from worker.qlora.telling import Teller

    length, rows = ROWS[kind]
    run = write_run(
        asked.work / kind,
        model=folder,
        rows=chats(words=length),
        quantization={"kind": "bitsandbytes_4bit", "bnb_4bit_compute_dtype": compute_dtype()},
        lora={"r": 16, "lora_alpha": 32, "lora_dropout": 0.0},
        optimizer={"optim": "paged_adamw_32bit", "learning_rate": 1e-4},
        training={"per_device_train_batch_size": rows, "max_length": length, "max_steps": asked.steps},
    )
    reset_peak()
    made, recipe.load_model = recipe.load_model, lambda *args, **kwargs: model
    try:
        recipe.run(recipe.read_order(run.order), directory=run, teller=Teller(run.events))
    finally:
        recipe.load_model = made
    return {"rows": kind, **figures(run), "device_used_gib": device_used()} | freed(model)


def chats(*, words: int) -> list[dict[str, Any]]:
    """Answers of numbers in words, all longer than the max length, so that each row is full."""
    text = " ".join(f"number {n} and" for n in range(words))
    return [{"messages": [{"role": "user", "content": f"Count, {n}."}, {"role": "assistant", "content": text}]} for n in range(64)]


def figures(run: Any) -> dict[str, Any]:
    last = events_of(run)[-1]
    assert isinstance(last, TrainingEnded), last
    plan, metrics = told(run, PlanMade)[0], told(run, MetricsLogged)
    half = metrics[len(metrics) // 2 :]
    seconds = (half[-1].at - half[0].at).total_seconds()
    return {
        "peak_allocated_gib": round(last.results.peak_memory_bytes / 2**30, 2),
        "peak_reserved_gib": round(max(sample.cuda_reserved_bytes or 0 for sample in told(run, MemorySampled)) / 2**30, 2),
        "tokens_per_second": round((half[-1].tokens_seen - half[0].tokens_seen) / max(seconds, 1e-9)),
        "losses": [round(event.loss, 4) for event in metrics if event.loss is not None],
        "parameters": plan.parameters,
        "trainable_parameters": plan.trainable_parameters,
        "memory_parts": plan.memory_parts,
        "execution": plan.execution.model_dump(mode="json") if plan.execution else None,
        "device": plan.device,
        "versions": plan.versions,
    }


def freed(model: Any) -> dict[str, Any]:
    """The adapter of the run before goes, so that the next one meets the base model as it was."""
    import gc

    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                setattr(parent, name, child.get_base_layer())
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {}


def compute_dtype() -> str:
    import torch

    return "bfloat16" if torch.cuda.is_available() else "float32"


def reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def device_used() -> float | None:
    """All that the card has in use, CUDA's own and paged states included."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return round((total - free) / 2**30, 2)


if __name__ == "__main__":
    sys.exit(main())
