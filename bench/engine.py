"""Speed and memory of training through Nibble's trainer, packed and as TRL runs it, and through Unsloth, on one card. A table last.

    python -m bench.engine --rows rows.jsonl --tokenizer FOLDER [--out bench/results] [--variants NAME ...]

`rows.jsonl`: chats, one a line ({"messages": [...]}); the published figures are of real instruction rows, at most 512 tokens.
The 7B Llama has random weights: speed and memory do not depend on what it knows. Tokens are counted without padding.
"""

# a script that is read in a terminal
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.random_models import SHAPES, VOCABULARY
from tests.gpu.records import keep
from tests.gpu.run_qlora import BF16, NF4, gib
from tests.worker.qlora.runs import events_of, told, write_run
from worker.contract.events import MemorySampled, MetricsLogged, PlanMade, TrainingEnded, TrainingFailed

WARM_UP = 8
SHORT = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "max_length": 512, "max_steps": 36}
FOUR = {**SHORT, "gradient_accumulation_steps": 1}
LONG = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "max_length": 2048, "max_steps": 18}


def variant(training: dict[str, Any], *, execution: str, limit_gib: float = 0.0, **changes: Any) -> dict[str, Any]:
    quantization = changes.pop("quantization", NF4)
    return {
        "training": {**training, "activation_checkpointing": False, **changes},
        "execution": execution,
        "quantization": quantization,
        "limit_gib": limit_gib,
    }


VARIANTS = {
    "16 rows, Nibble": variant(SHORT, execution="auto"),
    "16 rows, Nibble, 180 steps": variant({**SHORT, "max_steps": 180}, execution="auto"),
    "4 rows, Nibble, 180 steps": variant({**FOUR, "max_steps": 180}, execution="auto"),
    "16 rows, Unsloth 4 × 4": variant({**SHORT, "max_steps": 28}, execution="unsloth"),
    "16 rows, TRL 4 × 4": variant({**SHORT, "max_steps": 20}, execution="plain"),
    "16 rows, Nibble, LoRA bf16": variant(SHORT, execution="auto", quantization=BF16),
    "4 rows, Nibble": variant(FOUR, execution="auto"),
    "4 rows, Unsloth": variant(FOUR, execution="unsloth"),
    "4 rows, Unsloth, checkpointing": variant(FOUR, execution="unsloth", activation_checkpointing=True),
    "4 rows, Nibble, 4.8 GiB": variant(FOUR, execution="auto", limit_gib=4.8),
    "4 rows, Nibble, 6.0 GiB": variant(FOUR, execution="auto", limit_gib=6.0),
    "4 × 2,048, Nibble": variant(LONG, execution="auto"),
    "4 × 2,048, Unsloth, checkpointing": variant(LONG, execution="unsloth", activation_checkpointing=True),
    "4 × 2,048, Nibble, 5.9 GiB": variant(LONG, execution="auto", limit_gib=5.9),
    "4 × 2,048, TRL, checkpointing": variant({**LONG, "max_steps": 16}, execution="plain", activation_checkpointing=True),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.engine")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a tokenizer with a chat template")
    parser.add_argument("--shape", default="7b", choices=SHAPES)
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, metavar="NAME")
    parser.add_argument("--work", type=Path, default=Path("/tmp/nibble-engine"))
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    parser.add_argument("--profile", action="store_true", help="say in OUT where the time of Nibble's steps goes")
    parser.add_argument("--make-model", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make_model:
        make_model(asked.work / "model", shape=asked.shape, tokenizer=asked.tokenizer)
        return 0
    shutil.rmtree(asked.work, ignore_errors=True)
    again = [sys.executable, "-m", "bench.engine", "--rows", str(asked.rows), "--shape", asked.shape, "--work", str(asked.work)]
    subprocess.run([*again, "--tokenizer", str(asked.tokenizer), "--make-model"], check=True)
    results = []
    for name in asked.variants or VARIANTS:
        results.append({"variant": name, **measured(name, asked=asked)})
        print(line(results[-1]), flush=True)
        record(results, asked=asked)
    print("\n".join([HEAD, *(line(result) for result in results)]))
    return 0 if all("tokens_per_second" in result for result in results) else 1


def rows_for(training: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    if training["max_length"] <= 512:
        return rows
    words = " ".join(message["content"] for row in rows for message in row["messages"]).split()
    each = 2600  # words: over 2,048 tokens under any tokenizer here, and cut there
    texts = [" ".join(words[begin : begin + each]) for begin in range(0, len(words) - each, each // 8)]
    return [{"messages": [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": text}]} for text in texts]


def measured(name: str, *, asked: argparse.Namespace) -> dict[str, Any]:
    chosen = VARIANTS[name]
    run = write_run(
        asked.work / re.sub(r"[^a-z0-9]+", "-", name.lower()),
        model=asked.work / "model",
        rows=rows_for(chosen["training"], asked.rows),
        name=name,
        quantization=chosen["quantization"],
        data={"train_on": "whole_row"},  # as Unsloth does by itself, so that all learn the same
        lora={"r": 16, "lora_alpha": 32, "lora_dropout": 0.0},
        optimizer={"optim": "paged_adamw_32bit", "learning_rate": 1e-4, "warmup_steps": 2},
        training=chosen["training"],
        execution="auto" if chosen["execution"] == "unsloth" else chosen["execution"],
    )
    if chosen["execution"] == "unsloth":
        return through_unsloth(run)
    environment = {**os.environ, **({"NIBBLE_TRAINER_MEMORY_GIB": str(chosen["limit_gib"])} if chosen["limit_gib"] else {})}
    began = time.monotonic()
    trainer = "tests.gpu.profiled_steps" if asked.profile else "worker.qlora"
    done = subprocess.run(
        [sys.executable, "-m", trainer, str(run.path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if asked.profile and (steps := run.path / "steps.txt").exists():
        asked.out.mkdir(parents=True, exist_ok=True)
        shutil.copy(steps, asked.out / f"{run.path.name}-steps.txt")
    last = events_of(run)[-1]
    if not isinstance(last, TrainingEnded):
        said = f"{last.cause}: {last.message}" if isinstance(last, TrainingFailed) else "no last word"
        return {"problem": said, "log_tail": done.stdout[-3000:]}
    return {**figures(run, last), "seconds": round(time.monotonic() - began, 1)}


def make_model(folder: Path, *, shape: str, tokenizer: Path) -> None:
    """In a process of its own, so that no CUDA context stays on the card."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    reads = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=max(VOCABULARY, len(reads)),
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=reads.bos_token_id,
        eos_token_id=reads.eos_token_id,
        pad_token_id=reads.pad_token_id,
        **SHAPES[shape],
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    reads.save_pretrained(folder)


def through_unsloth(run: Any) -> dict[str, Any]:
    began, result = time.monotonic(), run.path / "unsloth.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench.unsloth_peer", str(run.path), str(result)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if not result.is_file():
        return {"problem": f"exit {done.returncode}", "log_tail": done.stdout[-3000:]}
    told = json.loads(result.read_text())
    ends = told["ends"]
    steps, tokens = [b - a for a, b in zip(ends[WARM_UP:], ends[WARM_UP + 1 :], strict=False)], told["tokens"][WARM_UP + 1 :]
    return {
        **speeds(steps, tokens),
        "peak_allocated_gib": gib(told["peak_allocated_bytes"]),
        "peak_reserved_gib": gib(told["peak_reserved_bytes"]),
        "first_loss": told["losses"][0],
        "final_loss": told["losses"][-1],
        "losses": told["losses"],
        "padding_free": told["padding_free"],
        "execution": None,
        "versions": told["versions"],
        "seconds": round(time.monotonic() - began, 1),
    }


def speeds(steps: list[float], tokens: list[int]) -> dict[str, Any]:
    """A step that captures a length takes 0.4 s longer, once; steady: the steps that did not."""
    quick = [(t, n) for t, n in zip(steps, tokens, strict=True) if t < 1.5 * statistics.median(steps)]
    return {
        "tokens_per_second": round(sum(tokens) / sum(steps)),
        "steady_tokens_per_second": round(sum(n for _, n in quick) / sum(t for t, _ in quick)),
        "steady_steps": f"{len(quick)} of {len(steps)}",
        "step_ms": round(1000 * statistics.median(steps), 1),
        "tokens_a_step": round(sum(tokens) / len(tokens)),
    }


def figures(run: Any, last: TrainingEnded) -> dict[str, Any]:
    plan, metrics, memory = told(run, PlanMade)[0], told(run, MetricsLogged), told(run, MemorySampled)
    steps = [(b.at - a.at).total_seconds() for a, b in zip(metrics[WARM_UP:], metrics[WARM_UP + 1 :], strict=False)]
    tokens = [b.tokens_seen - a.tokens_seen for a, b in zip(metrics[WARM_UP:], metrics[WARM_UP + 1 :], strict=False)]
    return {
        **speeds(steps, tokens),
        "peak_allocated_gib": gib(last.results.peak_memory_bytes),
        "peak_reserved_gib": gib(max(sample.cuda_reserved_bytes or 0 for sample in memory)),
        "first_loss": last.results.first_loss,
        "final_loss": last.results.final_loss,
        "losses": [round(event.loss, 5) for event in metrics if event.loss is not None],
        "execution": plan.execution.model_dump(mode="json") if plan.execution else None,
        "device": plan.device,
        "versions": plan.versions,
    }


HEAD = f"{'variant':<32}{'tokens/s':>9}{'steady':>9}{'step ms':>9}{'peak GiB':>10}{'reserved':>10}{'loss':>18}  plan"


def line(result: dict[str, Any]) -> str:
    if "tokens_per_second" not in result:
        return f"{result['variant']:<32} {result['problem']}\n{result['log_tail']}"
    plan = result["execution"] or {}
    passes = plan.get("passes", {})
    how = (
        "its own"
        if not plan
        else f"{passes.get('per_device_train_batch_size')} × {passes.get('gradient_accumulation_steps')}, {plan.get('recomputed_layers')} recomputed"
    )
    losses = f"{result['first_loss']:.3f} → {statistics.fmean(result['losses'][-5:]):.3f}"
    return (
        f"{result['variant']:<32}{result['tokens_per_second']:>9}{result['steady_tokens_per_second']:>9}{result['step_ms']:>9}"
        f"{result['peak_allocated_gib']:>10}{result['peak_reserved_gib']:>10}{losses:>18}  {how}{', host' if plan.get('on_host') else ''}"
    )


def record(results: list[dict[str, Any]], *, asked: argparse.Namespace) -> None:
    what = "Llama of random weights, LoRA r=16 on all linear layers, NF4 + double quantisation, paged_adamw_32bit"
    keep(asked.out / f"engine_{asked.shape}.json", shape=asked.shape, what=what, results=results)


if __name__ == "__main__":
    sys.exit(main())
