"""What cannot be trained ends with one sentence and what to change, before anything slow where that is possible."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.qlora.runs import ROWS, failed, train, write_run
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch


def test_a_dataset_that_was_changed(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    run.dataset.write_bytes(run.dataset.read_bytes() + b"\n")
    assert train(run) == 1
    assert (failed(run).cause, "SHA-256" in failed(run).message) == ("bad_data", True)


def test_a_dataset_without_a_usable_row(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=[{"messages": ROWS[0]["messages"][:1]}])
    assert train(run) == 1
    assert failed(run).cause == "bad_data"
    assert "no assistant turn" in failed(run).message
    assert failed(run).advice


def test_a_dataset_that_is_no_jsonl(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=json.dumps(ROWS).encode())
    assert train(run) == 1
    assert "JSON array" in failed(run).message
    assert "python3 -c" in failed(run).advice


def test_rows_whose_answers_begin_after_the_max_length(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, training={"max_length": 8})
    assert train(run) == 1
    assert failed(run).cause == "bad_data"
    assert "None of the 16 rows has a trained token left within 8 tokens." in failed(run).message


def test_a_chat_template_that_no_rule_fits(tmp_path: Path, tiny_model: Path) -> None:
    folder = copy_of(tiny_model, tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'] }} {% endfor %}")
    run = write_run(tmp_path / "run", model=folder)
    assert train(run) == 1
    assert failed(run).cause == "bad_config"
    assert "whole rows" in failed(run).advice
    whole = write_run(tmp_path / "whole", model=folder, data={"train_on": "whole_row"})
    assert train(whole) == 0


def copy_of(model: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_model_that_is_not_there(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tmp_path / "nowhere")
    assert train(run) == 1
    assert (failed(run).cause, "not there" in failed(run).message) == ("model_unavailable", True)


def test_pickled_weights(tmp_path: Path, tiny_model: Path) -> None:
    folder = copy_of(tiny_model, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    run = write_run(tmp_path / "run", model=folder)
    assert train(run) == 1
    assert failed(run).cause == "model_unavailable"
    assert "pickled" in failed(run).message
    assert "save_pretrained" in failed(run).advice


def test_a_model_with_code_of_its_own(tmp_path: Path, tiny_model: Path) -> None:
    folder = copy_of(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    canary = tmp_path / "canary"
    (folder / "modeling_mine.py").write_text(f"open({str(canary)!r}, 'w')\nraise SystemExit('ran')\n")
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "modeling_mine.C", "AutoModelForCausalLM": "modeling_mine.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    run = write_run(tmp_path / "run", model=folder)
    assert train(run) == 1
    assert failed(run).cause == "model_unavailable"
    assert not canary.exists()


def test_weights_that_are_cut_short(tmp_path: Path, tiny_model: Path) -> None:
    folder = copy_of(tiny_model, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    run = write_run(tmp_path / "run", model=folder)
    assert train(run) == 1
    assert failed(run).cause == "model_unavailable"


def test_a_directory_that_was_used_before(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    run.adapter.mkdir()
    assert train(run) == 1
    assert "already has an adapter" in failed(run).message


@pytest.mark.parametrize("training", [{}, {"save_steps": 2}], ids=["at the adapter", "at a checkpoint"])
def test_a_disk_without_room_leaves_nothing_half_written(tmp_path: Path, tiny_model: Path, training: dict[str, int]) -> None:
    """Files may grow to 64 KB here; an adapter of rank 64 has 524."""
    run = write_run(tmp_path / "run", model=tiny_model, lora={"r": 64}, training=training)
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); from worker.qlora.__main__ import main; "
    )
    done = subprocess.run(
        [sys.executable, "-c", limited + "sys.exit(main(sys.argv[1:]))", str(run.path)], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert failed(run).cause == "disk_full"
    assert not any((run.path / name).exists() for name in ("adapter", "adapter.part", "checkpoints.part"))
    assert not list(run.checkpoints.iterdir())


@pytest.mark.parametrize("content", [None, b"{", b'{"attempt_id": 1}'])
def test_an_order_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    run = RunDirectory(tmp_path)
    if content is not None:
        run.order.write_bytes(content)
    assert train(run) == 1
    assert (failed(run).cause, "order" in failed(run).message) == ("bad_config", True)


def test_a_wrong_call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from worker.qlora.__main__ import main

    assert main([]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "Usage" in capsys.readouterr().err
