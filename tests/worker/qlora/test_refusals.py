"""What cannot be trained ends with one sentence and what to change, before anything slow where that is possible."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.qlora.runs import ROWS, failed, losses, told, train, write_run
from worker.contract.events import NoticeGiven
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


def test_a_dataset_that_is_cut_off(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=json.dumps(ROWS)[:-1].encode())
    assert train(run) == 1
    assert "ends in the middle" in failed(run).message
    assert "upload it again" in failed(run).advice


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
    assert "Python code of its own" in failed(run).message
    assert "trust_remote_code" not in failed(run).message
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


def with_config(model: Path, folder: Path, **changed: object) -> Path:
    copy_of(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changed))
    return folder


def notices(run: RunDirectory) -> str:
    return " ".join(event.text for event in told(run, NoticeGiven))


def test_rows_beyond_the_models_positions_are_told(tmp_path: Path, tiny_model: Path) -> None:
    """Its positions are rotary: they can be reckoned for any place, but were never trained there."""
    model = with_config(tiny_model, tmp_path / "model", max_position_embeddings=20)
    run = write_run(tmp_path / "run", model=model)
    assert train(run) == 0
    assert "the model was made for 20" in notices(run)
    fits = write_run(tmp_path / "fits", model=model, training={"max_length": 20})
    assert train(fits) == 0
    assert "was made for" not in notices(fits)


def test_rows_beyond_learned_positions_are_refused(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    from tests.worker.tiny_tokenizer import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=20, bos_token_id=None, eos_token_id=2
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    run = write_run(tmp_path / "run", model=tmp_path / "model")
    assert train(run) == 1
    assert (failed(run).cause, "no more than 20 positions" in failed(run).message) == ("bad_config", True)
    assert failed(run).advice == "Set the max length to 20 or less."
    shorter = write_run(tmp_path / "shorter", model=tmp_path / "model", training={"max_length": 20})
    assert train(shorter) == 0


def test_chats_for_a_model_without_a_chat_template(tmp_path: Path, tiny_model: Path) -> None:
    folder = copy_of(tiny_model, tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    run = write_run(tmp_path / "run", model=folder)
    assert train(run) == 1
    assert (failed(run).cause, "no chat template" in failed(run).message) == ("bad_config", True)
    texts = b"".join(json.dumps({"text": "one two three"}).encode() + b"\n" for _ in range(8))
    text = write_run(tmp_path / "text", model=folder, rows=texts)
    text.order.write_text(text.order.read_text().replace('"format": "messages"', '"format": "text"'))
    assert train(text) == 0


def test_a_tokenizer_without_a_padding_token_pads_with_the_end_of_text(tmp_path: Path, tiny_model: Path) -> None:
    """The losses are those of a tokenizer that has one: padding is masked everywhere."""
    folder = copy_of(tiny_model, tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    for execution in ("auto", "plain"):
        without = write_run(tmp_path / f"without-{execution}", model=folder, execution=execution)
        with_one = write_run(tmp_path / f"with-{execution}", model=tiny_model, execution=execution)
        assert train(without) == train(with_one) == 0
        assert losses(without) == pytest.approx(losses(with_one), rel=1e-6)


def test_a_tokenizer_with_neither(tmp_path: Path, tiny_model: Path) -> None:
    folder = copy_of(tiny_model, tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    for name in ("pad_token", "eos_token"):
        config.pop(name)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    run = write_run(tmp_path / "run", model=folder)
    assert train(run) == 1
    assert "neither a padding nor an end-of-text token" in failed(run).message


def test_a_card_without_bfloat16_falls_back_and_says_so(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer's own choice, with a CPU that has none: float32 runs, and the user is told."""
    from worker.qlora import recipe
    from worker.qlora.precision import Device

    monkeypatch.setattr(recipe, "find_device", lambda: Device(name="An older CPU", is_cuda=False, has_bfloat16=False))
    run = write_run(tmp_path / "run", model=tiny_model, quantization={"kind": "bitsandbytes_4bit"}, training={"bf16": True})
    assert train(run) == 0
    assert "An older CPU has no bfloat16 arithmetic; float32 is used instead of bfloat16." in notices(run)
    assert "float32 is used instead of bf16." in notices(run)
    reference = write_run(tmp_path / "reference", model=tiny_model)
    assert train(reference) == 0
    assert losses(run) == pytest.approx(losses(reference), rel=1e-6)
