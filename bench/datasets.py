"""Datasets at full size: each part makes its own files and keeps its figures in bench/results/.

    python -m bench.datasets check [--rows 1000000] [--folder DIR]    the check plain, and with the look for keys, cards and addresses;
                                                                      near duplicates. Aims: 60 MB/s, 30 MB/s, 5 minutes, < 400 MB
    python -m bench.datasets tokens MODEL_DIR                         token statistics. Aims: 0.5 million tokens/s, 60 % of encode_batch
    python -m bench.datasets upload [--mib 4096] [--one-only]         Aims: 100 MB/s, web < 200 MB
    python -m bench.datasets browse [--rows 1000000]                  pages and search. Aims: 200 ms, first hits in 2 s

Aims are for 2 quiet cores: the load before and after stands beside each figure.
"""

import argparse
import subprocess
import sys

from bench.datasets_check.parts import measure_check

ELSEWHERE = {"tokens": "bench.tokens", "upload": "bench.uploads", "browse": "bench.datasets_browse"}
"""Parts that are programs of their own."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["check", *ELSEWHERE])
    chosen, rest = parser.parse_known_args()
    if chosen.part in ELSEWHERE:
        return subprocess.run([sys.executable, "-m", ELSEWHERE[chosen.part], *rest], check=False).returncode
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", default="", help="where the files are made and removed again; else the system's temp folder")
    options = parser.parse_args()
    measure_check(rows=options.rows, folder=options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
