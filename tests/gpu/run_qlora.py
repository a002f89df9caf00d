"""Trains on a real card through the real command, checks what only a card can show, and keeps the figures.

    python -m tests.gpu.run_qlora --shape 7b --out bench/results

Makes its own model with random weights (nothing can be fetched where this runs), writes a run directory for each variant,
runs `python -m worker.qlora` on it, and reads the events: peak memory, tokens/s, whether optimizer states are paged, whether
PEFT loads the adapter. `--shape tiny` tries the script itself on a CPU.
"""

# a script that is read in a terminal
import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.gpu.records import keep
from tests.worker.qlora.runs import events_of, told, write_run
from tests.worker.tiny_tokenizer import WORDS, tiny_tokenizer
from worker.contract.events import MemorySampled, MetricsLogged, PlanMade, TrainingEnded, TrainingFailed
from worker.contract.run_directory import RunDirectory

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "medium": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 8,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
    },
    "small": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
    },
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
}
NF4 = {
    "kind": "bitsandbytes_4bit",
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "bfloat16",
}
BF16 = {"kind": "none", "dtype": "bfloat16"}
VARIANTS: dict[str, dict[str, Any]] = {
    "qlora, checkpointing": {"quantization": NF4, "optim": "paged_adamw_32bit", "activation_checkpointing": True},
    "qlora": {"quantization": NF4, "optim": "paged_adamw_32bit", "activation_checkpointing": False},
    "qlora, 8-bit states": {"quantization": NF4, "optim": "paged_adamw_8bit", "activation_checkpointing": True},
    "lora, checkpointing": {"quantization": BF16, "optim": "paged_adamw_32bit", "activation_checkpointing": True},
    "lora": {"quantization": BF16, "optim": "paged_adamw_32bit", "activation_checkpointing": False},
}
VOCABULARY = 49_152
WARM_UP_STEPS = 5  # left out of the speed
STATES = re.compile(r"Optimizer states: (\d+) tensors, ([\d.]+) MB; (\d+) paged of (\d+) with")


def main() -> int:
    asked = parse_arguments()
    if asked.make_model:
        make_model(asked.work / "model", shape=asked.shape)
        return 0
    began = time.monotonic()
    shutil.rmtree(asked.work, ignore_errors=True)
    subprocess.run([*this_script(), "--make-model", "--shape", asked.shape, "--work", str(asked.work)], check=True)
    print(f"Model made after {time.monotonic() - began:.0f} s", flush=True)
    results = []
    for name in asked.variants or VARIANTS:
        results.append(measure(name, work=asked.work, steps=asked.steps, tokens=asked.tokens))
        print(f"{name}: done after {time.monotonic() - began:.0f} s", flush=True)
        record(results, asked=asked)  # after each: a run that is cut off still leaves its figures
    print(table(results))
    return 0 if all(not result["problems"] for result in results) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu.run_qlora", description="QLoRA and LoRA runs on this machine's device."
    )
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--tokens", type=int, default=190, help="about so many tokens a row")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, metavar="NAME", help="some of: " + "; ".join(VARIANTS))
    parser.add_argument("--work", type=Path, default=Path("/tmp/nibble-gpu"), help="folder for model and runs; emptied first")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="folder for the result")
    parser.add_argument("--make-model", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def this_script() -> list[str]:
    return [sys.executable, "-m", "tests.gpu.run_qlora"]


def make_model(folder: Path, *, shape: str) -> None:
    """In a process of its own, so that no CUDA context stays on the card."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY if shape != "tiny" else len(tokenizer),
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SHAPES[shape],
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rows(*, count: int, tokens: int) -> list[dict[str, Any]]:
    """Chats of random words, a third of each the question; lengths vary by half around the mean as real rows' do."""
    import random

    words, tokenizer, dice = WORDS.split(), tiny_tokenizer(), random.Random(0)
    a_word = len(tokenizer(WORDS)["input_ids"]) / len(words)

    def text(share: float, length: int) -> str:
        return " ".join(dice.choices(words, k=max(int(share * length / a_word), 1)))

    lengths = [int(tokens * dice.uniform(0.5, 1.5)) for _ in range(count)]
    return [
        {"messages": [{"role": "user", "content": text(1 / 3, length)}, {"role": "assistant", "content": text(2 / 3, length)}]}
        for length in lengths
    ]


def measure(name: str, *, work: Path, steps: int, tokens: int) -> dict[str, Any]:
    variant = VARIANTS[name]
    run = write_run(
        work / f"run-{re.sub(r'[^a-z0-9]+', '-', name)}",
        model=work / "model",
        rows=rows(count=steps * 4, tokens=tokens),
        name=name,
        quantization=variant["quantization"],
        lora={"r": 16, "lora_alpha": 32},
        optimizer={"optim": variant["optim"], "learning_rate": 2e-4, "warmup_steps": 2},
        training={"max_steps": steps, "max_length": 512, "activation_checkpointing": variant["activation_checkpointing"]},
    )
    began = time.monotonic()
    log = run_trainer(run)
    return {"variant": name, "seconds": round(time.monotonic() - began, 1), **figures(run, log=log, variant=variant)}


def run_trainer(run: RunDirectory) -> str:
    """The trainer's words, shown as they come."""
    lines = []
    command = [sys.executable, "-m", "worker.qlora", str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ}) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if not line.startswith("Step") or len(lines) % 10 == 0:
                print("   ", line.rstrip(), flush=True)
    return "".join(lines)


def figures(run: RunDirectory, *, log: str, variant: dict[str, Any]) -> dict[str, Any]:
    last = events_of(run)[-1]
    if not isinstance(last, TrainingEnded):
        said = f"{last.cause}: {last.message}" if isinstance(last, TrainingFailed) else "no last word"
        return {"problems": [said], "log_tail": log[-1500:]}
    (plan,) = told(run, PlanMade)
    memory = told(run, MemorySampled)
    states = STATES.search(log)
    found = {
        "device": plan.device,
        "optim": plan.optim,
        "trainable_parameters": plan.trainable_parameters,
        "parameters": plan.parameters,
        "tokens_per_second": speed(told(run, MetricsLogged)),
        "tokens_per_step": round(plan.train_tokens / plan.max_steps),
        "first_loss": last.results.first_loss,
        "final_loss": last.results.final_loss,
        "peak_allocated_gib": gib(last.results.peak_memory_bytes) if last.results.peak_memory_of == "cuda_allocated" else None,
        "peak_reserved_gib": gib(max((sample.cuda_reserved_bytes or 0) for sample in memory)),
        "peak_card_used_gib": gib(max((sample.card_used_bytes or 0) for sample in memory)),
        "state_tensors": int(states[1]) if states else None,
        "state_mb": float(states[2]) if states else None,
        "paged_states": int(states[3]) if states else None,
        "large_states": int(states[4]) if states else None,
        "versions": plan.versions,
    }
    return {**found, "problems": problems_of(found, run=run, variant=variant)}


def speed(metrics: list[MetricsLogged]) -> float | None:
    """Tokens without padding a second, from the end of the warm-up to the last step."""
    steps = [event for event in metrics if event.tokens_seen is not None and event.step >= WARM_UP_STEPS]
    if len(steps) < 2:
        return None
    seconds = (steps[-1].at - steps[0].at).total_seconds()
    return round(((steps[-1].tokens_seen or 0) - (steps[0].tokens_seen or 0)) / seconds, 1)


def gib(size: int) -> float:
    return round(size / 2**30, 2)


def problems_of(found: dict[str, Any], *, run: RunDirectory, variant: dict[str, Any]) -> list[str]:
    problems = []
    if found["device"].startswith("CPU"):
        if found["optim"] == variant["optim"]:
            problems.append("a paged optimizer ran on a CPU")
    elif not found["large_states"] or found["paged_states"] != found["large_states"]:
        problems.append(f"{found['paged_states']} of {found['large_states']} large optimizer states are paged")
    if not finite_float32(run.adapter / "adapter_model.safetensors"):
        problems.append("the adapter is not finite float32")
    return problems


def finite_float32(path: Path) -> bool:
    import torch
    from safetensors.torch import load_file

    tensors = load_file(path)
    return bool(tensors) and all(
        tensor.dtype == torch.float32 and bool(torch.isfinite(tensor).all()) for tensor in tensors.values()
    )


def record(results: list[dict[str, Any]], *, asked: argparse.Namespace) -> None:
    words = f"4 a step, about {asked.tokens} tokens each, padded to the longest"
    path = asked.out / f"qlora_gpu_{asked.shape}.json"
    keep(path, shape=asked.shape, rows=words, steps=asked.steps, results=results)


def table(results: list[dict[str, Any]]) -> str:
    lines = [f"{'variant':<24}{'tokens/s':>10}{'peak GiB':>10}{'reserved':>10}{'paged':>12}{'loss':>16}{'seconds':>9}  problems"]
    for result in results:
        paged = f"{result.get('paged_states')}/{result.get('large_states')}"
        losses = f"{result.get('first_loss') or 0:.3f} → {result.get('final_loss') or 0:.3f}"
        lines.append(
            f"{result['variant']:<24}{result.get('tokens_per_second') or '-':>10}{result.get('peak_allocated_gib') or '-':>10}"
            f"{result.get('peak_reserved_gib') or '-':>10}{paged:>12}{losses:>16}{result['seconds']:>9}  "
            f"{'; '.join(result['problems']) or 'none'}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
