"""The whole product on a GPU host: dashboard, Redis, Celery, agent and trainer, from submit to the downloaded adapter.

    python -m tests.gpu.run_nibble --out DIR [--tokenizer DIR] [--shape 7b|tiny] [--steps 20]

Makes models with random weights there (no network is needed), runs QLoRA and LoRA jobs through the public API, checks that the
trainer ran on CUDA with paged optimizer states, and prints a table last. `--shape tiny` tries it on a CPU.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from tests.gpu.records import keep
from tests.running import Nibble, running_nibble
from tests.waiting import wait_until
from webapp.launcher.visitor import Visitor

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3}
SHAPES = {
    "tiny": {**SMALL, "num_hidden_layers": 2},
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
}
QLORA = {"kind": "bitsandbytes_4bit"}
LORA = {"kind": "none"}


def make_model(folder: Path, *, shape: dict[str, int], tokenizer: Path) -> None:
    """A Llama with random weights and SmolLM2's tokenizer, written as safetensors in bfloat16."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**shape, vocab_size=49152, max_position_embeddings=8192, rope_theta=100000.0, tie_word_embeddings=False)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    del model
    torch.cuda.empty_cache()


def add_folder_model(nibble: Nibble, folder: Path, *, name: str) -> None:
    code = f"from webapp.catalog.services import add_model; add_model(name={name!r}, source='folder', name_or_path={str(folder)!r})"
    environment = {**os.environ, "NIBBLE_DATA": str(nibble.data)}
    subprocess.run([sys.executable, "manage.py", "shell", "-v0", "-c", code], cwd=ROOT, check=True, env=environment)


def run_job(
    visitor: Visitor, *, name: str, model: str, quantization: dict[str, Any], steps: int, pauses: bool = False, **training: Any
) -> dict[str, Any]:
    base = next(m for m in visitor.get("models")["data"] if m["name"] == model)
    version = visitor.get("datasets")["data"][0]["versions"][0]
    wanted = {
        "name": name,
        "pool": "local",
        "base_model": base["id"],
        "dataset_version": version["id"],
        "quantization": quantization,
        "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0},
        "optimizer": {"optim": "paged_adamw_32bit", "learning_rate": 2e-4},
        "training": {"max_steps": steps, "per_device_train_batch_size": 4, "max_length": 512, **training},
    }
    submitted = time.time()
    job = visitor.post("jobs", wanted)["id"]
    if pauses:
        pause_and_resume(visitor, job)
    wait_until(
        lambda: visitor.get(f"jobs/{job}")["status"] in ("succeeded", "failed", "cancelled"), what=name, seconds=400, every=0.5
    )
    return figures(visitor, job, submitted=submitted)


def pause_and_resume(visitor: Visitor, job: int) -> None:
    """At the fifth step or a little later; it goes on from the checkpoint that the worker sent."""
    wait_until(lambda: (last_step(visitor, job) or 0) >= 5, what="the fifth step", seconds=120, every=0.1)
    visitor.post(f"jobs/{job}/pause", {})
    wait_until(lambda: visitor.get(f"jobs/{job}")["status"] == "paused", what="the pause", seconds=60, every=0.1)
    visitor.post(f"jobs/{job}/resume", {})


def last_step(visitor: Visitor, job: int) -> int | None:
    steps = [event["data"]["step"] for event in events_of(visitor, job) if event["kind"] == "metrics"]
    return steps[-1] if steps else None


def events_of(visitor: Visitor, job: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while True:
        after = events[-1]["cursor"] if events else 0
        page = visitor.get(f"jobs/{job}/events?limit=1000&after={after}")
        events += page["data"]
        if not page["has_more"]:
            return events


def figures(visitor: Visitor, job: int, *, submitted: float) -> dict[str, Any]:
    events = events_of(visitor, job)
    by_kind = {kind: [e for e in events if e["kind"] == kind] for kind in ("plan", "metrics", "memory", "log", "notice", "failed")}
    found = visitor.get(f"jobs/{job}")
    if found["status"] != "succeeded":
        raise RuntimeError(f"{found['name']}: {found['failure']} {[e['data'] for e in by_kind['log']][-15:]}")
    metrics = [e["data"] for e in by_kind["metrics"]]
    memory = [e["data"] for e in by_kind["memory"]]
    speeds = sorted(m["tokens_per_second"] for m in metrics[len(metrics) // 3 :] if m.get("tokens_per_second"))
    first = datetime.fromisoformat(by_kind["metrics"][0]["at"]).timestamp()
    return {
        "name": found["name"],
        "optim": by_kind["plan"][0]["data"]["optim"],
        "resumed_from": [e["data"]["resumed_from_step"] for e in by_kind["plan"] if "resumed_from_step" in e["data"]],
        "execution": by_kind["plan"][-1]["data"]["execution"],
        "device": by_kind["plan"][0]["data"]["device"],
        "versions": by_kind["plan"][0]["data"]["versions"],
        "submit_to_first_step_s": round(first - submitted, 1),
        "tokens_per_second": round(speeds[len(speeds) // 2], 1),
        "first_loss": metrics[0]["loss"],
        "last_loss": next(m["loss"] for m in reversed(metrics) if m.get("loss") is not None),
        "peak_gib": gib(max((m.get("cuda_peak_bytes") or 0) for m in memory)),
        "reserved_gib": gib(max((m.get("cuda_reserved_bytes") or 0) for m in memory)),
        "card_gib": gib(max((m.get("card_total_bytes") or 0) for m in memory)),
        "paged": [e["data"]["text"] for e in by_kind["log"] + by_kind["notice"] if "paged" in e["data"]["text"].lower()],
        "adapter": found["adapter"],
    }


def gib(value: float) -> float:
    return round(value / 2**30, 2)


def check_adapter(visitor: Visitor, adapter: int, *, into: Path) -> list[str]:
    packed = into / f"{adapter}.zip"
    visitor.download(visitor.get(f"adapters/{adapter}")["download_url"], to=packed)
    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        return sorted(Path(name).name for name in archive.namelist())


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="nibble-gpu-") as name:
        folder = Path(name)
        small, large = folder / "small", folder / "large"
        make_model(small, shape=SHAPES["tiny"] if arguments.shape == "tiny" else SMALL, tokenizer=arguments.tokenizer)
        make_model(large, shape=SHAPES[arguments.shape], tokenizer=arguments.tokenizer)
        with running_nibble(folder / "data", example_model=small) as nibble:
            report = measure(nibble, large, arguments)
        shutil.copy(nibble.data / "said.txt", arguments.out / "start.txt")
    keep(arguments.out / "nibble_on_gpu.json", **report)
    for row in report["jobs"]:
        print({key: value for key, value in row.items() if key != "versions"})


def measure(nibble: Nibble, large: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    visitor = Visitor(nibble.sign_in_link, csrf_cookie="nibble_csrf")
    add_folder_model(nibble, large, name="large")
    wait_until(
        lambda: all(m["state"] == "ready" for m in visitor.get("models")["data"]), what="the models to be looked at", seconds=60
    )
    wait_until(lambda: visitor.get("datasets")["data"][0]["versions"][0]["state"] == "ready", what="the dataset", seconds=60)
    workers = visitor.get("pools")["data"]
    jobs = [
        run_job(visitor, name="small qlora", model="SmolLM2 135M Instruct", quantization=QLORA, steps=arguments.steps),
        run_job(visitor, name="large qlora", model="large", quantization=QLORA, steps=arguments.steps),
        run_job(
            visitor,
            name="large qlora, paused and resumed",
            model="large",
            quantization=QLORA,
            steps=2 * arguments.steps,
            pauses=True,
        ),
        run_job(visitor, name="large lora bf16", model="large", quantization=LORA, steps=arguments.steps),
    ]
    files = check_adapter(visitor, jobs[1]["adapter"], into=nibble.data)
    return {"shape": arguments.shape, "pools": workers, "adapter_files": files, "jobs": jobs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, default=ROOT / ".cache" / "example_model")
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--steps", type=int, default=20)
    main(parser.parse_args())
