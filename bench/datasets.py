"""Datasets at full size: each part makes its own files and keeps its figures in bench/results/datasets_<part>.json.

    python -m bench.datasets check [--rows 1000000] [--folder DIR]

`check` makes about 1 GB of chat rows and measures the check without and with the look for keys, cards and addresses, then the search
for near duplicates. Aims on 2 cores: 60 MB/s, 30 MB/s, 5 minutes, under 400 MB in each process. The load of the machine before and
after stands beside each figure, and the processor time, which tells what a quiet machine would need.
"""

import argparse

from bench.datasets_check.parts import measure_check

PARTS = {"check": measure_check}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--folder", default="", help="where the files are made and removed again; the system's temp folder otherwise"
    )
    options = parser.parse_args()
    PARTS[options.part](rows=options.rows, folder=options.folder)


if __name__ == "__main__":
    main()
