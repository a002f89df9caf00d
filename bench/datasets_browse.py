"""Browsing a million rows: any page, a split alone, and the first hits of a search, read and rendered, and the memory that it takes.

    python -m bench.datasets_browse [--rows 1000000] [--pages 60]

Aims on 2 cores: any page within 200 ms, the first hits of a search within 2 s.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.machine import keep
from worker.rows.row import Row
from worker.rows.rows_file import RowsWriter, stored

NEEDLES = {"a quarter in": 0.25, "in the middle": 0.5, "at the end": 0.999}
WORDS = 120


def write_rows(path: Path, *, rows: int) -> None:
    """Chats of about 1 KB, a fiftieth of them held out; three rows say something that no other says."""
    chance = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(3, 11))) for _ in range(20_000)]
    needles = {int(rows * share): name for name, share in NEEDLES.items()}
    with RowsWriter(path, "messages") as writer:
        for number in range(rows):
            said = chance.choices(words, k=WORDS)
            answer = " ".join(said[40:]) + (f" Needle {needles[number]}" if number in needles else "")
            messages = ({"role": "user", "content": " ".join(said[:40])}, {"role": "assistant", "content": answer})
            split = "test" if number % 50 == 0 else "train"
            writer.add(stored(Row("messages", messages=messages), line=number + 1, split=split))


def milliseconds(read: Callable[[], Any]) -> float:
    started = time.perf_counter()
    read()
    return (time.perf_counter() - started) * 1000


def spread(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    at = {f"p{part}_ms": round(ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 1) for part in (50, 95)}
    return {**at, "max_ms": round(ordered[-1], 1), "mean_ms": round(statistics.fmean(ordered), 1)}


def browse(path: Path, *, rows: int, pages: int) -> dict[str, Any]:
    """In a fresh process, whose memory is the browser's own."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    import django

    django.setup()
    from django.template.loader import render_to_string

    from webapp.datasets.browsing import Asked, rows_page
    from webapp.datasets.models import DatasetVersion
    from webapp.datasets.scanning import Cursor
    from webapp.datasets.shown_rows import shown_row

    class Version(DatasetVersion):
        rows_path = path  # type: ignore[assignment]

        class Meta:
            app_label = "datasets"
            proxy = True

    def page(asked: Asked) -> int:
        found = rows_page(Version(), asked)
        shown = [shown_row(row, files=["chats.jsonl"]) for row in found.rows]
        for row in shown:
            render_to_string("datasets/_shown_row.html", {"row": row, "q": asked.text, "splits": {}})
        return len(shown)

    def first_hit(text: str) -> dict[str, Any]:
        """As a reader gets there who goes on whenever the search pauses."""
        at, waits, started = 1, 0, time.perf_counter()
        while True:
            found, waits = rows_page(Version(), Asked(at=Cursor(at), text=text)), waits + 1
            if found.rows or found.slice.after is None:
                seconds = time.perf_counter() - started
                return {"seconds": round(seconds, 2), "answers": waits, "found": [row.number for row in found.rows]}
            at = found.slice.after

    chance = random.Random(2)
    page(Asked())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    anywhere = [milliseconds(partial(page, Asked(at=Cursor(chance.randint(1, rows))))) for _ in range(pages)]
    held_out = [milliseconds(partial(page, Asked(at=Cursor(chance.randint(1, rows)), split="test"))) for _ in range(pages)]
    last = [milliseconds(partial(page, Asked(at=Cursor(rows + 1, is_backwards=True)))) for _ in range(pages // 4)]
    common = [milliseconds(partial(rows_page, Version(), Asked(at=Cursor(chance.randint(1, rows)), text="ab"))) for _ in range(10)]
    hits = {name: first_hit(f"NEEDLE {name}") for name in NEEDLES}
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "any_page": spread(anywhere),
        "page_of_a_split": spread(held_out),
        "last_page": spread(last),
        "search_for_what_is_common": spread(common),
        "first_hit": hits,
        "memory": {"before_bytes": before, "peak_bytes": after, "grown_bytes": after - before},
    }


def main() -> None:
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("--rows", type=int, default=1_000_000)
    wanted.add_argument("--pages", type=int, default=60)
    wanted.add_argument("--in", dest="path", help="a rows file that is there already: measures in this process")
    given = wanted.parse_args()
    if given.path:
        sys.stdout.write(json.dumps(browse(Path(given.path), rows=given.rows, pages=given.pages)))
        return
    measure(rows=given.rows, pages=given.pages)


def measure(*, rows: int, pages: int) -> None:
    with tempfile.TemporaryDirectory(prefix="nibble-browse-") as folder:
        path = Path(folder) / "rows.parquet"
        write_rows(path, rows=rows)
        command = [sys.executable, "-m", "bench.datasets_browse", "--in", str(path), "--rows", str(rows), "--pages", str(pages)]
        environment = {**os.environ, "NIBBLE_DATA": folder}
        load = os.getloadavg()[0]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
        about = {"rows": rows, "rows_file_bytes": path.stat().st_size, "load_average_before": round(load, 1)}
    keep("datasets_browse", {**about, **json.loads(done.stdout)}, packages=("pyarrow", "django"))


if __name__ == "__main__":
    main()
