"""Models of the Hugging Face Hub: looked at without their weights, fetched whole, and used from the cache without a network."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.worker.agent.hub_server import COMMIT, TOKEN, hub_server
from tests.worker.agent.tiny_model import write_model
from worker.contract.model_shape import ModelReport

NAME = "acme/tiny"
LOOK = """
import sys
from pathlib import Path
from worker.agent.inspect_model import inspect_model
from worker.contract.model_shape import BaseModelRef
from worker.contract.orders import InspectModel
name, revision, token = sys.argv[1:4]
reference = BaseModelRef(kind="hub", name_or_path=name, revision=revision or None)
asked = InspectModel(model_id=1, base_model=reference, hub_token=token or None)
print(inspect_model(asked, data=Path.cwd(), run=None, send=lambda path, file: None).model_dump_json())
"""

LINK = """
import sys
from pathlib import Path
from worker.agent.base_models import hub_link
def run(*_):
    raise SystemExit("a process was started")
folder = Path(sys.argv[3])
hub_link(sys.argv[1], revision=sys.argv[2], token=None, folder=folder, data=folder, run=run)
print((folder / "model").resolve())
"""


class Machine:
    """A worker machine with an empty cache of its own; every look or download is a process, as huggingface_hub reads its
    settings once."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder, self.endpoint = folder, endpoint

    def look(self, name: str = NAME, *, revision: str = "", token: str = "") -> ModelReport:
        done = self._python("-c", LOOK, name, revision, token)
        assert done.returncode == 0, done.stderr
        return ModelReport.model_validate_json(done.stdout.splitlines()[-1])

    def download(self, run: Path, *, revision: str = "", token: str = "") -> "subprocess.CompletedProcess[str]":
        run.mkdir()
        return self._python("-m", "worker.agent.hub_download", NAME, revision, str(run), token=token)

    def _python(self, *arguments: str, token: str = "") -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "DJANGO_"))}
        env = {**kept, "HF_ENDPOINT": self.endpoint, "HF_HOME": str(self.folder / "hub"), "PYTHONPATH": str(Path.cwd())}
        env |= {"HF_TOKEN": token} if token else {}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)

    @property
    def cached(self) -> set[str]:
        return {path.name for path in (self.folder / "hub").rglob("snapshots/*/*")}


@contextmanager
def machine(tmp_path: Path, *, gated: bool = False) -> Iterator[Machine]:
    model = write_model(tmp_path / "model")
    (model / "pytorch_model.bin").write_bytes(b"pickled")
    with hub_server(NAME, model, gated=gated) as endpoint:
        yield Machine(tmp_path, endpoint)


def test_a_look_reads_headers_only_and_pins_the_commit(tmp_path: Path) -> None:
    with machine(tmp_path) as here:
        report = here.look()
    assert report.problem == ""
    assert (report.revision, report.licence) == (COMMIT, "apache-2.0")
    assert report.shape is not None
    assert (report.shape.parameters, report.shape.has_chat_template) == (744, True)
    assert here.cached == {"config.json", "tokenizer_config.json", "README.md"}


def test_a_download_brings_no_pickled_weights(tmp_path: Path) -> None:
    with machine(tmp_path) as here:
        done = here.download(tmp_path / "run", revision=COMMIT)
    assert done.returncode == 0, done.stderr
    files = {path.name for path in (tmp_path / "run" / "model").iterdir()}
    assert files == {"config.json", "model.safetensors", "tokenizer_config.json", "README.md"}


def test_what_is_in_the_cache_needs_no_network(tmp_path: Path) -> None:
    with machine(tmp_path) as here:
        assert here.download(tmp_path / "first", revision=COMMIT).returncode == 0
    done = here.download(tmp_path / "second", revision=COMMIT)  # the server is gone
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "second" / "model" / "model.safetensors").is_file()
    assert here.look(revision=COMMIT).problem == ""


def test_a_pinned_model_that_is_here_is_linked_without_a_process(tmp_path: Path) -> None:
    with machine(tmp_path) as here:
        assert here.download(tmp_path / "first", revision=COMMIT).returncode == 0
    (tmp_path / "second").mkdir()
    done = here._python("-c", LINK, NAME, COMMIT, str(tmp_path / "second"))
    assert done.stdout.strip() == str((tmp_path / "first" / "model").resolve()), done.stderr


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [
        ("acme/other", "", "acme/other is not on the Hub, or it is private"),
        (NAME, "f" * 40, "has no such revision"),
        ("not a name!", "", "is no name of a model"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, name: str, revision: str, words: str) -> None:
    with machine(tmp_path) as here:
        assert words in here.look(name, revision=revision).problem


def test_a_gated_model_needs_the_token(tmp_path: Path) -> None:
    with machine(tmp_path, gated=True) as here:
        assert "is gated: accept its licence" in here.look().problem
        assert here.look(token=TOKEN).problem == ""
        refused = here.download(tmp_path / "refused", revision=COMMIT)
        assert refused.returncode == 1
        assert "is gated" in (tmp_path / "refused" / ".model-problem").read_text()
        assert here.download(tmp_path / "allowed", revision=COMMIT, token=TOKEN).returncode == 0


def test_a_model_without_safetensors_is_refused_before_any_download(tmp_path: Path) -> None:
    with machine(tmp_path) as here:
        (tmp_path / "model" / "model.safetensors").unlink()
        assert "no safetensors weights on the Hub" in here.look().problem
        assert here.cached == set()


def test_a_hub_that_is_away_is_said(tmp_path: Path) -> None:
    report = Machine(tmp_path, "http://127.0.0.1:9").look()
    assert report.problem.startswith("acme/tiny could not be fetched from the Hub by this worker")
