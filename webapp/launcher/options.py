"""The options of ./start, said once: for its --help (before Django is installed) and for manage.py start."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

DEFAULT_PORT = 8000
DESCRIPTION = "Sets up and starts Nibble on this machine: dashboard, Redis, and one worker (CUDA if there is one, else the CPU)."
EPILOG = """\
The first start installs the requirements into .venv and makes the example model: some minutes, once.
Ctrl-C stops everything that was started, and nothing else. Everything is kept in the data folder.
An upgrade is: git pull && ./start. All other settings are in docs/configuration.md.
"""


def port(value: str) -> int:
    number = int(value)
    if not 0 < number < 65536:
        raise ValueError(value)
    return number


def add_options(parser: ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--port", type=port, default=DEFAULT_PORT, help="port of the dashboard (default: 8000)")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only; 0.0.0.0: every network)")
    add(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="data folder: database, datasets, adapters, logs (default: .data in the checkout)",
    )
    add("--email", default="", help="e-mail address of the first administrator (default: admin@localhost)")
    add("--no-worker", action="store_true", help="start no worker on this machine; join others on the page Pools & workers")
    add("--demo", action="store_true", help="fine-tune the example model now, and show its answer before and after")
    add("--exit", action="store_true", help="with --demo: stop afterwards; exit status 0 only if all of it worked")
    add("--sign-in-link", action="store_true", help="print a new one-time sign-in link for the first administrator, and end")
