"""Checkpoints that are torn, of other settings, or that found no room: told, never trained from, and the one before still good."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.runs import ended, failed, told, train, write_run
from worker.contract.events import CheckpointRejected, CheckpointSaved, NoticeGiven, PlanMade
from worker.contract.orders import FILE_NAME
from worker.contract.run_directory import RunDirectory
from worker.qlora.checkpoint import write_manifest

pytestmark = pytest.mark.torch
FILES = {
    "adapter_config.json",
    "adapter_model.safetensors",
    "manifest.json",
    "nibble.json",
    "optimizer.pt",
    "rng_state.pth",
    "scheduler.pt",
    "trainer_state.json",
}
BLOCKS: dict[str, dict[str, Any]] = {"lora": {"lora_dropout": 0.1}, "training": {"max_steps": 4, "save_steps": 1}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> RunDirectory:
    """Has checkpoints of steps 3 and 4."""
    run = write_run(tmp_path_factory.mktemp("trained") / "run", model=tiny_model, **BLOCKS)
    assert train(run) == 0
    return run


def interrupted(folder: Path, trained: RunDirectory, **changed: dict[str, Any]) -> RunDirectory:
    """A new run directory with the checkpoint of step 3, as the agent brings it."""
    blocks = {**BLOCKS, **{name: {**BLOCKS.get(name, {}), **block} for name, block in changed.items()}}
    run = write_run(folder, model=trained.model.readlink(), **blocks)
    shutil.copytree(trained.checkpoints / "checkpoint-3", run.checkpoints / "checkpoint-3")
    return run


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(run: RunDirectory) -> str:
    return sha256(run.adapter / "adapter_model.safetensors")


def test_a_checkpoint_has_what_it_needs_and_no_more(trained: RunDirectory) -> None:
    folder = trained.checkpoints / "checkpoint-4"
    assert {path.name for path in folder.iterdir()} == FILES
    assert all(re.fullmatch(FILE_NAME, name) for name in FILES)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert (manifest["step"], set(manifest["files"])) == (4, FILES - {"manifest.json"})
    assert {name: file["sha256"] for name, file in manifest["files"].items()} == {
        name: sha256(folder / name) for name in manifest["files"]
    }
    assert manifest["made_by"]["versions"]["torch"]
    assert json.loads((folder / "adapter_config.json").read_bytes())["base_model_name_or_path"] == "tiny-llama"


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncated, zeroed, Path.unlink, flipped], ids=["truncated", "zeroed", "deleted", "flipped"])
@pytest.mark.parametrize("name", sorted(FILES))
def test_any_damage_is_found(tmp_path: Path, trained: RunDirectory, name: str, damage: Callable[[Path], None]) -> None:
    from worker.qlora.checkpoint import Unusable, verify

    folder = tmp_path / "checkpoint-4"
    shutil.copytree(trained.checkpoints / "checkpoint-4", folder)
    settings = json.loads((folder / "manifest.json").read_bytes())["settings"]
    assert verify(folder, settings=settings).step == 4
    damage(folder / name)
    with pytest.raises(Unusable) as found:
        verify(folder, settings=settings)
    assert (found.value.file, found.value.by_settings) == (name, False)


def test_the_one_before_a_torn_one_is_gone_on_from(tmp_path: Path, trained: RunDirectory) -> None:
    run = interrupted(tmp_path / "run", trained)
    shutil.copytree(trained.checkpoints / "checkpoint-4", run.checkpoints / "checkpoint-4")
    (run.checkpoints / "checkpoint-4" / "optimizer.pt").unlink()  # transformers would go on without a word
    (run.checkpoints / "checkpoint-999").mkdir()  # transformers would take it: the highest number
    assert train(run) == 0
    assert [(event.step, event.file) for event in told(run, CheckpointRejected)] == [(999, "manifest.json"), (4, "optimizer.pt")]
    assert told(run, PlanMade)[0].resumed_from_step == 3
    assert weights(run) == weights(trained)
    assert {"checkpoint-3", "checkpoint-4"} <= {path.name for path in run.checkpoints.iterdir()}
    assert not (run.checkpoints / "checkpoint-999").exists()


def test_with_none_left_it_begins_anew(tmp_path: Path, trained: RunDirectory) -> None:
    run = interrupted(tmp_path / "run", trained)
    truncated(run.checkpoints / "checkpoint-3" / "rng_state.pth")
    order = json.loads(run.order.read_bytes())
    named = [{"name": "rng_state.pth", "size_bytes": 1, "sha256": "0" * 64}]
    run.order.write_text(json.dumps(order | {"resume": {"step": 3, "files": named}}))
    assert train(run) == 0
    assert [event.file for event in told(run, CheckpointRejected)] == ["rng_state.pth"]
    assert any("from the beginning" in notice.text for notice in told(run, NoticeGiven))
    assert told(run, PlanMade)[0].resumed_from_step is None
    assert weights(run) == weights(trained)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"optimizer": {"learning_rate": 0.02}}, "optimizer.learning_rate was 0.01 and is 0.02"),
        ({"lora": {"r": 8}}, "lora.r was 4 and is 8"),
        ({"training": {"seed": 1}}, "training.seed was 42 and is 1"),
        ({"training": {"max_steps": 5}}, "training.max_steps was 4 and is 5"),
        ({"training": {"gradient_accumulation_steps": 2}}, "training.effective_batch was 4 and is 8"),
        ({"data": {"train_on": "whole_row"}}, "data.train_on"),
    ],
)
def test_one_of_other_settings_is_refused(tmp_path: Path, trained: RunDirectory, changed: dict[str, Any], said: str) -> None:
    run = interrupted(tmp_path / "run", trained, **changed)
    assert train(run) == 1
    assert (failed(run).cause, said in failed(run).message) == ("checkpoint_unusable", True), failed(run).message
    assert said in told(run, CheckpointRejected)[0].reason
    assert not told(run, PlanMade)


def test_one_of_a_newer_version_is_not_trained_over(tmp_path: Path, trained: RunDirectory) -> None:
    run = interrupted(tmp_path / "run", trained)
    folder = run.checkpoints / "checkpoint-3"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    figures = json.loads((folder / "nibble.json").read_bytes())
    (folder / "nibble.json").write_text(json.dumps(figures | {"of_tomorrow": 1}))
    (folder / "manifest.json").unlink()
    write_manifest(folder, step=3, settings=manifest["settings"], made_by=manifest["made_by"])
    assert train(run) == 1
    assert (failed(run).cause, "newer version" in failed(run).message) == ("checkpoint_unusable", True), failed(run).message


def test_another_base_model_or_revision_is_refused(tmp_path: Path, trained: RunDirectory) -> None:
    run = interrupted(tmp_path / "run", trained)
    order = json.loads(run.order.read_bytes())
    order["spec"]["base_model"]["revision"] = "v2"
    run.order.write_text(json.dumps(order))
    assert train(run) == 1
    assert 'base_model.revision was null and is "v2"' in failed(run).message

    other = interrupted(tmp_path / "other", trained)
    copy = tmp_path / "model"
    shutil.copytree(trained.model, copy)
    flipped(copy / "model.safetensors")
    other.model.unlink()
    other.model.symlink_to(copy)
    assert train(other) == 1
    assert "base model's weights was" in failed(other).message


@pytest.mark.parametrize(
    "changed",
    [
        {"training": {"logging_steps": 2, "save_steps": 3, "activation_checkpointing": True}},
        {"training": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}},
    ],
)
def test_what_does_not_decide_the_result_may_differ(tmp_path: Path, trained: RunDirectory, changed: dict[str, Any]) -> None:
    run = interrupted(tmp_path / "run", trained, **changed)
    assert train(run) == 0
    assert told(run, PlanMade)[0].resumed_from_step == 3
    assert not told(run, CheckpointRejected)
    assert ended(run).results.final_loss == pytest.approx(ended(trained).results.final_loss, rel=0.05)


def test_a_checkpoint_from_a_machine_that_computed_otherwise_is_used_and_told(tmp_path: Path, trained: RunDirectory) -> None:
    from worker.qlora.checkpoint import write_manifest

    run = interrupted(tmp_path / "run", trained)
    folder = run.checkpoints / "checkpoint-3"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").unlink()
    made_by = {**manifest["made_by"], "computes_in": "bfloat16, bf16 autocast"}
    write_manifest(folder, step=3, settings=manifest["settings"], made_by=made_by)
    assert train(run) == 0
    assert any("this machine computes in float32" in notice.text for notice in told(run, NoticeGiven))


# The files of the third checkpoint find no room: 128 KB, and an adapter of rank 64 has 524.
FULL_AT_THE_THIRD = """
import resource, sys
from worker.contract.events import CheckpointSaved
from worker.qlora.telling import Teller
tell = Teller.tell
def tell_and_limit(self, event):
    tell(self, event)
    if isinstance(event, CheckpointSaved) and event.step == 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (131072, 131072))
Teller.tell = tell_and_limit
from worker.qlora.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path: Path, tiny_model: Path) -> None:
    from worker.qlora.checkpoint import verify

    run = write_run(tmp_path / "run", model=tiny_model, lora={"r": 64}, training={"save_steps": 1})
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", FULL_AT_THE_THIRD, str(run.path)], env=environment, check=False)
    assert done.returncode == 1
    assert (failed(run).cause, failed(run).step) == ("disk_full", 3)
    assert [event.step for event in told(run, CheckpointSaved)] == [1, 2]
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["checkpoint-1", "checkpoint-2"]
    assert not (run.path / "checkpoints.part").exists()
    for folder in run.checkpoints.iterdir():
        verify(folder, settings=json.loads((folder / "manifest.json").read_bytes())["settings"])
    assert train(run) == 0
    assert told(run, PlanMade)[-1].resumed_from_step == 2


def test_what_a_killed_trainer_left_half_written_is_cleared(tmp_path: Path, trained: RunDirectory) -> None:
    run = interrupted(tmp_path / "run", trained)
    half = run.path / "checkpoints.part" / "checkpoint-4"
    half.mkdir(parents=True)
    (half / "pytorch_model.bin").write_bytes(b"half")
    assert train(run) == 0
    assert {path.name for path in (run.checkpoints / "checkpoint-4").iterdir()} == FILES
