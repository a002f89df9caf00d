"""The first half of ./start, on the machine's own Python: checks the data folder, makes .venv ready, hands over to manage.py start."""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[0] = str(ROOT)  # it was this file's folder, whose modules have names for this package only

from webapp.launcher import environment  # noqa: E402
from webapp.launcher.options import add_options  # noqa: E402
from webapp.launcher.refusals import CannotStart  # noqa: E402


def main(arguments: list[str]) -> None:
    parser = ArgumentParser(prog="./start")
    add_options(parser)
    options = parser.parse_args(arguments)
    if options.exit and not options.demo:
        parser.error("--exit goes with --demo")
    data = data_folder(options.data)
    check_writable(data)
    environment.make_ready()
    command = [str(environment.PYTHON), str(ROOT / "manage.py"), "start", *arguments, "--data", str(data)]
    os.execve(environment.PYTHON, command, os.environ | {"NIBBLE_DATA": str(data)})


def data_folder(given: Path | None) -> Path:
    return (given or Path(os.environ.get("NIBBLE_DATA") or ROOT / ".data")).expanduser().resolve()


def check_writable(data: Path) -> None:
    probe = data / f".writable.{os.getpid()}"
    try:
        data.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CannotStart(
            f"The data folder {data} cannot be written to ({error.strerror}). Name another: ./start --data FOLDER"
        ) from None


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
