"""A model's shape from its own files, or one sentence about what is wrong with them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.agent.tiny_model import CONFIG, TENSORS, write_model, write_safetensors
from worker.agent.inspect_model import inspect_model
from worker.agent.knocking import DoorAway, DoorRefused
from worker.agent.model_files import licence_in
from worker.agent.tokenizer_files import Send
from worker.contract.model_shape import BaseModelRef, ModelReport
from worker.contract.orders import InspectModel
from worker.contract.tokenizer_files import LARGEST_BYTES, TokenizerFile


def never(command: list[str], environment: dict[str, str]) -> int:
    raise AssertionError(f"nothing has to be run for a folder: {command}")


def look(folder: Path) -> ModelReport:
    asked = InspectModel(model_id=1, base_model=BaseModelRef(kind="folder", name_or_path=str(folder)))
    return inspect_model(asked, data=folder.parent, run=never, send=lambda path, file: None)


def test_it_works(tmp_path: Path) -> None:
    report = look(write_model(tmp_path / "model"))
    assert (report.problem, report.licence, report.revision) == ("", "apache-2.0", "")
    shape = report.shape
    assert shape is not None
    assert shape.architecture == "LlamaForCausalLM"
    assert (shape.hidden_size, shape.num_hidden_layers, shape.num_key_value_heads, shape.intermediate_size) == (8, 1, 1, 16)
    assert shape.parameters == 32 * 8 + 8 * 8 + 4 * 8 + 8 * 16 + 8 + 32 * 8
    assert shape.weights_bytes == 2 * shape.parameters
    assert shape.linear_modules == ("q_proj", "v_proj", "down_proj")
    assert shape.has_chat_template


def test_shards_are_counted_together(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    names = list(TENSORS)
    for number, part in enumerate((names[:3], names[3:]), start=1):
        write_safetensors(folder / f"model-0000{number}-of-00002.safetensors", {name: TENSORS[name] for name in part})
    where = {name: f"model-0000{1 if name in names[:3] else 2}-of-00002.safetensors" for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    report = look(folder)
    assert report.shape is not None
    assert report.shape.parameters == 744
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "lacks model-00002-of-00002.safetensors, which its index names" in look(folder).problem


def test_older_names_of_the_same_numbers_are_read(tmp_path: Path) -> None:
    older = {"architectures": ["GPT2LMHeadModel"], "n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 32, "n_positions": 64}
    shape = look(write_model(tmp_path / "model", config=older)).shape
    assert shape is not None
    assert (shape.hidden_size, shape.num_hidden_layers, shape.intermediate_size, shape.max_position_embeddings) == (8, 2, 32, 64)


def test_a_model_that_also_sees_keeps_its_numbers_one_level_down(tmp_path: Path) -> None:
    seeing = {"architectures": ["SeeingModel"], "text_config": {k: v for k, v in CONFIG.items() if k != "architectures"}}
    shape = look(write_model(tmp_path / "model", config=seeing)).shape
    assert shape is not None
    assert (shape.architecture, shape.hidden_size) == ("SeeingModel", 8)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CONFIG.items() if key != name}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (without("hidden_size"), "gives no hidden_size"),
        ({**CONFIG, "hidden_size": -1}, "does not describe a language model"),
        ({**CONFIG, "quantization_config": {"quant_method": "gptq"}}, "quantised already (gptq)"),
    ],
)
def test_a_configuration_of_no_use_is_said(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    assert words in look(write_model(tmp_path / "model", config=config)).problem


def test_pickled_weights_are_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    problem = look(folder).problem
    assert "only pickled weights" in problem
    assert "save_pretrained" in problem


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no safetensors file"),
        (b"\xff" * 100, "no safetensors file"),
        (b"\x05\x00\x00\x00\x00\x00\x00\x00hello", "header that cannot be read"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}trailing", "was cut short"),
    ],
)
def test_a_damaged_file_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(content)
    assert words in look(folder).problem


def test_a_torn_file_is_said(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert "it was cut short" in look(folder).problem


@pytest.mark.parametrize(("missing", "words"), [("config.json", "has no config.json"), ("model.safetensors", "has no weights")])
def test_a_missing_file_is_said(tmp_path: Path, missing: str, words: str) -> None:
    folder = write_model(tmp_path / "model")
    (folder / missing).unlink()
    assert words in look(folder).problem


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    assert look(tmp_path / "nowhere").problem == f"There is no folder {tmp_path / 'nowhere'} on this worker."


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\nlanguage: en\nlicense: 'apache-2.0'\ntags: [x]\n---\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: llama3\n---\n", "llama3"),
        ("# Model\n\nMade by us, licence: Apache-2.0.\n", "apache-2.0"),
        ("# Model\n", ""),
        ("---\nlanguage: en\n---\nlicense: mit\n", ""),
    ],
)
def test_the_licence_is_read_from_the_model_card(readme: str, licence: str) -> None:
    assert licence_in(readme) == licence


def sent(folder: Path, *, send: Send | None = None) -> tuple[ModelReport, list[str]]:
    names: list[str] = []
    asked = InspectModel(model_id=1, base_model=BaseModelRef(kind="folder", name_or_path=str(folder)))
    return inspect_model(asked, data=folder.parent, run=never, send=send or (lambda path, file: names.append(path.name))), names


def test_the_tokenizer_goes_ahead_of_the_report(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "tokenizer.model").write_bytes(b"not sent")
    report, names = sent(folder)
    assert names == [file.name for file in report.tokenizer] == ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
    assert report.tokenizer[0].sha256 == hashlib.sha256(b"{}").hexdigest()
    assert report.tokenizer_problem == ""


def test_a_model_without_a_fast_tokenizer_is_usable_and_says_so(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "tokenizer.model").write_bytes(b"sentencepiece")
    report, names = sent(folder)
    assert (report.problem, names, report.tokenizer) == ("", [], ())
    assert "no fast tokenizer (tokenizer.json)" in report.tokenizer_problem


def test_a_tokenizer_above_the_limit_is_not_sent(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    with (folder / "tokenizer.json").open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    report, names = sent(folder)
    assert names == []
    assert "up to 64 MiB are taken" in report.tokenizer_problem


def test_a_tokenizer_that_is_refused_does_not_hide_the_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "tokenizer.json").write_text("{}")

    def refused(path: Path, file: TokenizerFile) -> None:
        raise DoorRefused(507, "disk_full", "The dashboard has 1 MiB of disk left.")

    report, _ = sent(folder, send=refused)
    assert report.shape is not None
    assert report.tokenizer_problem.endswith("1 MiB of disk left.")


def test_a_dashboard_that_is_away_is_told_later(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "tokenizer.json").write_text("{}")

    def away(path: Path, file: TokenizerFile) -> None:
        raise DoorAway("no answer")

    with pytest.raises(DoorAway):
        sent(folder, send=away)
