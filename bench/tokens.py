"""Token statistics of a rows file with the example model's tokenizer, rendering and mask included, beside the tokenizer alone.

    python -m bench.tokens MODEL_DIR [--rows 50000] [--rounds 3]

Aims on 2 cores: 0.5 million tokens/s, at least 60 % of a bare encode_batch over the same texts in the same run, a first figure
within 5 s. Each round runs both, one after the other; the median counts. CPU seconds tell what a machine shared with others hides.
"""

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import keep
from worker.contract.token_tasks import StatisticsReport, StatisticsTask
from worker.rows.limits import limit_memory
from worker.rows.rendering import render
from worker.rows.rows_file import RowsWriter, read_rows_file, stored
from worker.rows.shapes import read_row
from worker.rows.tokenizer import load_tokenizer

BATCH = 4096
WORDS = Path(__file__).parent.parent / "docs"


def write_rows(path: Path, *, rows: int) -> None:
    """Chats of one to three turns out of this repository's own prose: about 200 tokens each, as in alpaca_en_demo."""
    words = " ".join(file.read_text() for file in sorted(WORDS.rglob("*.md"))).split()
    dice = random.Random(0)

    def text(most: int) -> str:
        start, count = dice.randrange(len(words)), dice.randint(3, most)
        return " ".join(words[start : start + count]) or "Hello"

    with RowsWriter(path, format="messages") as writer:
        for number in range(rows):
            turns = [
                (role, text(most)) for _ in range(dice.choice((1, 1, 1, 2, 3))) for role, most in (("user", 25), ("assistant", 90))
            ]
            row = read_row({"messages": [{"role": role, "content": content} for role, content in turns]})
            writer.add(stored(row, line=number + 1))


def bare(texts: list[str], *, model: Path) -> dict[str, float]:
    """The library by itself, on texts that are rendered already."""
    backend = load_tokenizer(model).backend
    started, cpu = time.monotonic(), time.process_time()
    tokens = 0
    for at in range(0, len(texts), BATCH):
        tokens += sum(len(encoding.ids) for encoding in backend.encode_batch(texts[at : at + BATCH], add_special_tokens=False))
    return rates(tokens, seconds=time.monotonic() - started, cpu=time.process_time() - cpu)


def counted(folder: Path) -> tuple[dict[str, float], float]:
    """`python -m worker.rows`, with its start; and when its first figure was there."""
    for name in ("report.json", "progress.json"):
        (folder / name).unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "worker.rows", str(folder)])
    first = 0.0
    while process.poll() is None:
        if not first and (folder / "progress.json").exists():
            first = time.monotonic() - started
        time.sleep(0.02)
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = StatisticsReport.model_validate_json((folder / "report.json").read_bytes())
    assert not report.refusal, report.refusal
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**rates(report.tokens, seconds=seconds, cpu=cpu), "peak_mb": round(after.ru_maxrss / 1000)}, first or seconds


def rates(tokens: int, *, seconds: float, cpu: float) -> dict[str, float]:
    return {"tokens": tokens, "tokens_per_second": round(tokens / seconds), "tokens_per_cpu_second": round(tokens / cpu)}


def measure(model: Path, *, rows: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.parquet", rows=rows)
        (folder / "tokenizer").symlink_to(model.resolve())
        (folder / "task.json").write_text(StatisticsTask().model_dump_json())
        tokenizer = load_tokenizer(model)
        with limit_memory():
            texts = [render(tokenizer, messages=item.row.messages) for item in read_rows_file(folder / "rows.parquet")]
        pairs = [(bare(texts, model=model), *counted(folder)) for _ in range(rounds)]
    shares = [ours["tokens_per_second"] / alone["tokens_per_second"] for alone, ours, _ in pairs]
    cpu_shares = [ours["tokens_per_cpu_second"] / alone["tokens_per_cpu_second"] for alone, ours, _ in pairs]
    return {
        "rows": rows,
        "load": round(os.getloadavg()[0], 2),
        "rounds": [{"encode_batch": alone, "statistics": ours, "first_figure_s": round(first, 2)} for alone, ours, first in pairs],
        "tokens_per_second": statistics.median(ours["tokens_per_second"] for _, ours, _ in pairs),
        "share_of_encode_batch": round(statistics.median(shares), 2),
        "share_of_encode_batch_by_cpu": round(statistics.median(cpu_shares), 2),
        "first_figure_s": round(max(first for _, _, first in pairs), 2),
        "peak_mb": max(ours["peak_mb"] for _, ours, _ in pairs),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    keep("tokens", measure(asked.model, rows=asked.rows, rounds=asked.rounds), packages=("tokenizers", "Jinja2", "pyarrow"))
