"""python -m worker.agent join|run: the worker's command line."""

import argparse
import sys
from pathlib import Path

from worker.agent.logs import write_logs


def main() -> None:
    options = _options()
    write_logs()
    {"join": _join, "run": _run, "slot": _slot}[options.command](options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m worker.agent", description="A Nibble worker: takes fine-tuning jobs of one pool."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    join = commands.add_parser("join", help="join a dashboard with a one-time token from Pools & workers")
    join.add_argument("url", help="address of the dashboard, like https://nibble.example.org")
    join.add_argument("--token", required=True, help="the one-time join token")
    _with_data(join)
    join.add_argument("--name", default="", help="how the dashboard calls this machine (its host name)")
    join.add_argument("--slots", type=_slots, help="jobs at once (one for each GPU; one without a GPU)")
    join.add_argument("--again", action="store_true", help="replace an earlier join of this data folder")
    _with_data(commands.add_parser("run", help="take jobs until Ctrl-C"))
    slot = commands.add_parser("slot", help="(started by run) ask for work without Celery")
    slot.add_argument("--seconds", type=float, default=float("inf"))
    return parser.parse_args()


def _with_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", required=True, type=lambda text: Path(text).expanduser().resolve(), help="the worker's data folder"
    )


def _slots(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError("give 1 to 64")
    return int(text)


def _join(options: argparse.Namespace) -> None:
    from worker.agent.joining import CannotJoin, join
    from worker.agent.membership import JoinedAlready

    try:
        joined = join(
            options.url, token=options.token, data=options.data, name=options.name, slots=options.slots, again=options.again
        )
    except (CannotJoin, JoinedAlready) as refusal:
        sys.exit(str(refusal))
    print(f"Joined pool {joined.pool} of {joined.url} as {joined.name} with {joined.slots} slot{'s' * (joined.slots != 1)}.")


def _run(options: argparse.Namespace) -> None:
    from worker.agent.membership import NotJoined
    from worker.agent.supervisor import supervise

    try:
        supervise(options.data)
    except NotJoined as refusal:
        sys.exit(str(refusal))


def _slot(options: argparse.Namespace) -> None:
    from worker.agent.slot import Slot

    Slot.from_environment().poll(seconds=options.seconds)


if __name__ == "__main__":
    main()
