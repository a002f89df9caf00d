"""Speed and memory of training through Nibble's trainer, packed and as TRL runs it, on one card. Prints a table last.

    python -m bench.engine --rows rows.jsonl [--out bench/results] [--variants NAME ...]

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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.gpu.run_qlora import BF16, NF4, driver, gib, make_model
from tests.worker.qlora.runs import events_of, told, write_run
from worker.contract.events import MemorySampled, MetricsLogged, PlanMade, TrainingEnded, TrainingFailed

WARM_UP = 8
SHORT = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "max_length": 512, "max_steps": 48}
FOUR = {**SHORT, "gradient_accumulation_steps": 1}
LONG = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "max_length": 2048, "max_steps": 20}


def variant(training: dict[str, Any], *, execution: str, limit_gib: float = 0.0, **changes: Any) -> dict[str, Any]:
    quantization = changes.pop("quantization", NF4)
    return {
        "training": {**training, "activation_checkpointing": False, **changes},
        "execution": execution,
        "quantization": quantization,
        "limit_gib": limit_gib,
    }


VARIANTS = {
    "16 rows, packed": variant(SHORT, execution="auto"),
    "16 rows, TRL": variant({**SHORT, "max_steps": 20}, execution="plain"),
    "16 rows, packed, LoRA bf16": variant(SHORT, execution="auto", quantization=BF16),
    "4 rows, packed": variant(FOUR, execution="auto"),
    "4 rows, packed, 6.0 GiB": variant(FOUR, execution="auto", limit_gib=6.0),
    "16 rows, packed, 8 GiB": variant(SHORT, execution="auto", limit_gib=8.0),
    "4 × 2,048, packed": variant(LONG, execution="auto"),
    "4 × 2,048, TRL, checkpointing": variant(LONG, execution="plain", activation_checkpointing=True),
    "4 × 2,048, packed, 8.5 GiB": variant(LONG, execution="auto", limit_gib=8.5),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.engine")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--shape", default="7b")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, metavar="NAME")
    parser.add_argument("--work", type=Path, default=Path("/tmp/nibble-engine"))
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    parser.add_argument("--make-model", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make_model:
        make_model(asked.work / "model", shape=asked.shape)
        return 0
    shutil.rmtree(asked.work, ignore_errors=True)
    again = [sys.executable, "-m", "bench.engine", "--rows", str(asked.rows), "--shape", asked.shape, "--work", str(asked.work)]
    subprocess.run([*again, "--make-model"], check=True)
    results = []
    for name in asked.variants or VARIANTS:
        results.append({"variant": name, **measured(name, asked=asked)})
        print(line(results[-1]), flush=True)
        keep(results, asked=asked)
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
        lora={"r": 16, "lora_alpha": 32, "lora_dropout": 0.0},
        optimizer={"optim": "paged_adamw_32bit", "learning_rate": 1e-4, "warmup_steps": 2},
        training=chosen["training"],
        execution=chosen["execution"],
    )
    environment = {**os.environ, **({"NIBBLE_TRAINER_MEMORY_GIB": str(chosen["limit_gib"])} if chosen["limit_gib"] else {})}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "worker.qlora", str(run.path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    last = events_of(run)[-1]
    if not isinstance(last, TrainingEnded):
        said = f"{last.cause}: {last.message}" if isinstance(last, TrainingFailed) else "no last word"
        return {"problem": said, "log_tail": done.stdout[-3000:]}
    return {**figures(run, last), "seconds": round(time.monotonic() - began, 1)}


def figures(run: Any, last: TrainingEnded) -> dict[str, Any]:
    plan, metrics, memory = told(run, PlanMade)[0], told(run, MetricsLogged), told(run, MemorySampled)
    steps = [(b.at - a.at).total_seconds() for a, b in zip(metrics[WARM_UP:], metrics[WARM_UP + 1 :], strict=False)]
    tokens = [b.tokens_seen - a.tokens_seen for a, b in zip(metrics[WARM_UP:], metrics[WARM_UP + 1 :], strict=False)]
    # A step that meets a new length captures its graph (0.4 s once); steady: the steps that met none.
    quick = [(t, n) for t, n in zip(steps, tokens, strict=True) if t < 1.5 * statistics.median(steps)]
    return {
        "tokens_per_second": round(sum(tokens) / sum(steps)),
        "steady_tokens_per_second": round(sum(n for _, n in quick) / sum(t for t, _ in quick)),
        "steady_steps": f"{len(quick)} of {len(steps)}",
        "step_ms": round(1000 * statistics.median(steps), 1),
        "tokens_a_step": round(sum(tokens) / len(tokens)),
        "peak_allocated_gib": gib(last.results.peak_memory_bytes),
        "peak_reserved_gib": gib(max(sample.cuda_reserved_bytes or 0 for sample in memory)),
        "first_loss": last.results.first_loss,
        "final_loss": last.results.final_loss,
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
    how = f"{passes.get('per_device_train_batch_size')} × {passes.get('gradient_accumulation_steps')}, {plan.get('recomputed_layers')} recomputed"
    losses = f"{result['first_loss']:.3f} → {result['final_loss']:.3f}"
    return (
        f"{result['variant']:<32}{result['tokens_per_second']:>9}{result['steady_tokens_per_second']:>9}{result['step_ms']:>9}"
        f"{result['peak_allocated_gib']:>10}{result['peak_reserved_gib']:>10}{losses:>18}  {how}{', host' if plan.get('on_host') else ''}"
    )


def keep(results: list[dict[str, Any]], *, asked: argparse.Namespace) -> None:
    record = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "card": driver(),
        "shape": asked.shape,
        "what": "Llama of random weights, LoRA r=16 on all linear layers, NF4 + double quantisation, paged_adamw_32bit",
        "results": results,
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / f"engine_{asked.shape}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
