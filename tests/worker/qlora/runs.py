"""Run directories with a tiny random Llama, and what came out of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.worker.tiny_tokenizer import tiny_tokenizer
from worker.contract.events import AnyEvent, MetricsLogged, TrainingEnded, TrainingFailed, parse_event
from worker.contract.run_directory import RunDirectory

ROWS = [
    {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
    for question, answer in [
        ("one", "two"),
        ("two", "three"),
        ("hello", "hello world"),
        ("what is the capital", "the capital of a ship"),
        ("what is a log", "a log of a ship"),
        ("is the ship steady", "steady as she goes"),
        ("three", "one two three"),
        ("who goes", "she goes"),
    ]
] * 2
FILES = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "checksums.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "training_spec.json",
}
EXACT = {  # float32 throughout, no dropout: the same losses on every machine to four digits
    "lora": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0},
    "quantization": {"kind": "bitsandbytes_4bit", "bnb_4bit_compute_dtype": "float32"},
    "optimizer": {"learning_rate": 0.01, "warmup_steps": 0},
    "training": {"max_steps": 4, "per_device_train_batch_size": 4, "max_length": 64, "activation_checkpointing": False},
}


def make_tiny_model(folder: Path, *, seed: int = 0) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tiny_gpt_neox(folder: Path) -> Path:
    """A family that does not run packed."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    tokenizer = tiny_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, bos_token_id=None, max_position_embeddings=256, **sizes
    )
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_run(
    folder: Path,
    *,
    model: Path,
    rows: list[dict[str, Any]] | bytes = ROWS,
    name: str = "Tiny",
    execution: str = "auto",
    finetuning_type: str = "lora",
    **blocks: dict[str, Any],
) -> RunDirectory:
    """A run directory as the agent makes it. Blocks of the spec are laid over EXACT."""
    folder.mkdir(parents=True)
    content = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
    spec: dict[str, Any] = {
        "base_model": {"kind": "folder", "name_or_path": str(model)},
        "plan": {"execution": execution},
        "finetuning_type": finetuning_type,
    }
    for block in {**EXACT, **blocks}:
        merged = {**EXACT.get(block, {}), **blocks.get(block, {})}
        spec[block] = blocks[block] if block in blocks and block in ("quantization", "objective") else merged
    dataset = {
        "version_id": 1,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "rows": max(content.count(b"\n"), 1),
        "format": "messages",
    }
    order = {
        "attempt_id": 1,
        "attempt_number": 1,
        "fence": 1,
        "job_id": 1,
        "job_name": name,
        "lease_seconds": 30,
        "spec": spec,
        "dataset": dataset,
        "dataset_name": "rows | of mine",
    }
    run = RunDirectory(folder)
    run.order.write_text(json.dumps(order))
    run.dataset.write_bytes(content)
    run.model.symlink_to(model)
    return run


def train(run: RunDirectory) -> int:
    """In this process: the libraries take ten seconds to import."""
    from worker.qlora.__main__ import main

    return main([str(run.path)])


def events_of(run: RunDirectory) -> list[AnyEvent]:
    return [parse_event.validate_json(line) for line in run.events.read_bytes().splitlines()]


def told(run: RunDirectory, kind: type[Any]) -> list[Any]:
    return [event for event in events_of(run) if isinstance(event, kind)]


def ended(run: RunDirectory) -> TrainingEnded:
    last = events_of(run)[-1]
    assert isinstance(last, TrainingEnded), last
    return last


def failed(run: RunDirectory) -> TrainingFailed:
    last = events_of(run)[-1]
    assert isinstance(last, TrainingFailed), last
    return last


def losses(run: RunDirectory) -> list[float]:
    return [event.loss for event in told(run, MetricsLogged) if event.loss is not None]


def eval_losses(run: RunDirectory) -> dict[int, float]:
    return {event.step: event.eval_loss for event in told(run, MetricsLogged) if event.eval_loss is not None}


def held_out_row(run: RunDirectory) -> dict[str, Any]:
    from worker.contract.orders import WorkOrder
    from worker.qlora.dataset import prepare_data
    from worker.rows.tokenizer import load_tokenizer

    order = WorkOrder.model_validate_json(run.order.read_bytes())
    data = prepare_data(run.dataset, spec=order.spec, tokenizer=load_tokenizer(run.model))
    assert data.eval is not None
    (row,) = list(data.eval)
    return dict(row)
