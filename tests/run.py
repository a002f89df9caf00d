"""The stages of ./test: sets up what they need, runs them one after another, says how long each took.

Begins on the machine's own Python with the standard library, and goes on in .venv.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from tests.system_packages import find_chromium, find_nginx  # noqa: E402
from webapp.launcher import environment  # noqa: E402

PARTS = ("lint", "types", "unit", "torch", "faults", "journeys")
HELP = """\
lint      ruff, djade, import rules, Django's own checks (also on production settings), missing migrations
types     mypy --strict
unit      everything without tensors and browser, on SQLite; the claim and ingest paths on PostgreSQL too; real Redis
torch     real QLoRA training on the CPU
faults    processes killed and frozen, servers emptied and crashed, cables cut: nothing is lost, nothing runs twice
journeys  a real browser against real processes
"""
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile")  # tests of real processes wait more than they compute
NOT_UNIT = "not torch and not gpu and not journey and not faults"


@dataclass
class Run:
    """What came out so far."""

    folder: Path
    failed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def stage(self, name: str, *command: str, **changes: str) -> None:
        """A failed stage does not hide what the next ones find."""
        shown = [*command[:8], f"… {len(command) - 8} more"] if len(command) > 12 else command
        print(f"\n── {name}: {' '.join(shown)}", flush=True)
        began = time.monotonic()
        done = subprocess.run([*python_command(command)], cwd=ROOT, env=test_environment(self.folder) | changes)
        self.seconds[name] = time.monotonic() - began
        if done.returncode:
            self.failed.append(name)

    def pytest(self, name: str, *arguments: str, **changes: str) -> None:
        report = self.folder / f"{len(self.seconds)}.xml"
        self.stage(name, "pytest", "--durations=5", f"--junitxml={report}", *arguments, **changes)
        self.counts.update(counts_of(report))


def python_command(command: tuple[str, ...]) -> list[str]:
    """Programs of .venv by their name there; manage.py and modules through its Python."""
    program = environment.VENV / "bin" / command[0]
    return [str(program if program.exists() else environment.PYTHON), *command[program.exists() :]]


def test_environment(folder: Path) -> dict[str, str]:
    """Nothing of the caller's installation is touched, and nothing is asked of the network."""
    ours = ("NIBBLE_", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DJANGO_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {
        "NIBBLE_DATA": str(folder / "data"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
        "TOKENIZERS_PARALLELISM": "false",
    }


def counts_of(report: Path) -> Counter[str]:
    if not report.exists():
        return Counter()
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    found = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    bad = found["failures"] + found["errors"]
    return Counter(passed=found["tests"] - bad - found["skipped"], failed=bad, skipped=found["skipped"])


def lint(run: Run) -> None:
    run.stage("ruff", "ruff", "check", ".")
    run.stage("format", "ruff", "format", "--check", ".")
    templates = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "templates").rglob("*.html"))]
    run.stage("djade", "djade", "--target-version", "5.2", "--check", *templates)
    run.stage("import rules", "lint-imports")
    run.stage("checks", "manage.py", "check", "--fail-level", "WARNING")
    production = {
        "SECRET_KEY": "0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "NIBBLE_PUBLIC_URL": "https://nibble.example.org",
    }
    run.stage("checks for production", "manage.py", "check", "--deploy", "--fail-level", "WARNING", **production)
    run.stage("migrations", "manage.py", "makemigrations", "--check", "--dry-run")


def types(run: Run) -> None:
    run.stage("mypy", "mypy")


def unit(run: Run) -> None:
    find_nginx()
    run.pytest("unit tests", *SIDE_BY_SIDE, "-m", NOT_UNIT)
    run.pytest("unit tests on PostgreSQL", *SIDE_BY_SIDE, "-m", f"postgres and {NOT_UNIT}", "--postgres")


def torch(run: Run) -> None:
    run.pytest("torch tests", *SIDE_BY_SIDE, "-m", "torch and not gpu and not journey", OMP_NUM_THREADS="1")


def faults(run: Run) -> None:
    run.pytest("faults", *SIDE_BY_SIDE, "-m", "faults")


def journeys(run: Run) -> None:
    find_chromium()
    run.pytest("journeys", "-m", "journey")


def main(arguments: list[str]) -> int:
    parser = ArgumentParser(prog="./test", description=HELP, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)} or all (default: all)")
    parts = parser.parse_args(arguments).parts or ["all"]
    if unknown := set(parts) - {*PARTS, "all"}:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    environment.make_tests_ready()
    with tempfile.TemporaryDirectory(prefix="nibble-tests-") as folder:
        run = Run(Path(folder))
        for part in PARTS if "all" in parts else parts:
            {"lint": lint, "types": types, "unit": unit, "torch": torch, "faults": faults, "journeys": journeys}[part](run)
    return close(run)


def close(run: Run) -> int:
    print("\n── durations")
    for name, seconds in run.seconds.items():
        print(f"{seconds:7.1f} s  {name}{'  FAILED' if name in run.failed else ''}")
    print(f"{sum(run.seconds.values()):7.1f} s  in all")
    print(f"Failed: {', '.join(run.failed)}" if run.failed else "Everything holds.")
    if run.counts:
        print(f"{run.counts['passed']} passed, {run.counts['failed']} failed, {run.counts['skipped']} skipped")
    return 1 if run.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
