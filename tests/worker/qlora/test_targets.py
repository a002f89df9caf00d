"""Which layers get an adapter, and of which rank it may be."""

import json
from pathlib import Path

import pytest

from tests.worker.qlora.runs import failed, losses, make_tiny_gpt_neox, told, train, write_run
from worker.contract.events import NoticeGiven, PlanMade

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("target", "missing"), [(["q_proj", "c_attn"], "c_attn"), (["nothing_here"], "nothing_here"), (["model"], "model")]
)
def test_target_modules_that_are_not_there_are_named(tmp_path: Path, tiny_model: Path, target: list[str], missing: str) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, lora={"target_modules": target})
    assert train(run) == 1
    assert failed(run).cause == "bad_config"
    assert f"no layer called {missing}." in failed(run).message
    assert "q_proj, k_proj, v_proj" in failed(run).advice
    assert not run.adapter.exists()


def test_target_modules_that_are_given_are_the_ones_trained(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, lora={"target_modules": ["q_proj", "v_proj"]})
    assert train(run) == 0
    assert told(run, PlanMade)[0].target_modules == ("q_proj", "v_proj")
    assert told(run, PlanMade)[0].trainable_parameters == 2 * 4 * (128 + 96)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("auto", ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")),
        ("attention", ("q_proj", "k_proj", "v_proj", "o_proj")),
        ("q_and_v", ("q_proj", "v_proj")),
    ],
)
def test_shortcuts_are_the_names_of_this_model(tmp_path: Path, tiny_model: Path, asked: str, expected: tuple[str, ...]) -> None:
    """Packed and plain with the same losses: layers without an adapter stand beside those that have one."""
    runs = [
        write_run(tmp_path / execution, model=tiny_model, lora={"target_modules": asked}, execution=execution)
        for execution in ("auto", "plain")
    ]
    assert [train(run) for run in runs] == [0, 0]
    assert [told(run, PlanMade)[0].target_modules for run in runs] == [expected] * 2
    assert [told(run, PlanMade)[0].execution.kind for run in runs] == ["packed", "plain"]
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), rel=1e-5)


def test_shortcuts_of_another_family_have_its_own_names(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", model=make_tiny_gpt_neox(tmp_path / "model"), lora={"target_modules": "attention"})
    assert train(run) == 0
    assert told(run, PlanMade)[0].target_modules == ("query_key_value", "dense")


def test_a_model_whose_attention_has_other_names_says_which() -> None:
    import torch

    from worker.contract.lora import Lora
    from worker.qlora.failures import RunFailed
    from worker.qlora.lora import choose_target_modules

    model = torch.nn.ModuleDict({"wqkv": torch.nn.Linear(4, 4), "w1": torch.nn.Linear(4, 4)})
    model.get_output_embeddings = lambda: None
    with pytest.raises(RunFailed) as caught:
        choose_target_modules(model, lora=Lora(target_modules="q_and_v"))
    assert "it has wqkv, w1" in caught.value.message


@pytest.mark.parametrize("use", [{"use_rslora": True}, {"use_dora": True}])
def test_the_adapters_config_says_how_it_is_to_be_used(tmp_path: Path, tiny_model: Path, use: dict[str, bool]) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, lora=use)
    assert train(run) == 0
    config = json.loads((run.adapter / "adapter_config.json").read_text())
    assert {name: config[name] for name in use} == use


def test_a_rank_above_every_layer_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, lora={"r": 65})
    assert train(run) == 1
    assert (failed(run).cause, failed(run).message[:40]) == ("bad_config", "Rank 65 is larger than every layer that ")
    assert "64 or less" in failed(run).advice


def test_a_rank_above_some_layers_is_told(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, lora={"r": 64})
    assert train(run) == 0
    assert any(
        "Rank 64 is larger than some of the layers: k_proj (32), v_proj (32)." in each.text for each in told(run, NoticeGiven)
    )
