"""A packed pass gives the loss and the gradients that transformers and PEFT give row by row."""

from typing import Any

import pytest

pytestmark = pytest.mark.torch
NEAR = 1e-5  # float32: sums are taken in another order


def run(model: Any, rows: list[dict[str, list[int]]], **thrift: Any) -> Any:
    """The loss of a packed pass; gradients are left in the model."""
    import torch

    from tests.worker.qlora.packed.models import trained
    from worker.qlora.packed.collating import PackedCollator
    from worker.qlora.packed.decoder import Decoder, Thrift
    from worker.qlora.packed.runs import PackedRuns

    dropout = thrift.pop("dropout", 0.0)
    decoder = Decoder(model, dtype=torch.float32, thrift=Thrift(**thrift))
    decoder._dropout = dropout
    decoder.adapter.zero_grads()
    collator = PackedCollator(len(rows), longest=64, is_filled=True)
    torch.manual_seed(3)  # of the dropout
    return PackedRuns(decoder, longest=64, device=torch.device("cpu")).train(collator(rows), trained=trained(rows))


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("Llama", {}),
        ("Llama", {"kv": 4}),
        ("Llama", {"targets": ("q_proj", "v_proj")}),
        ("Llama", {"targets": ("down_proj",)}),
        ("Llama", {"rslora": True}),
        ("Mistral", {}),
        ("Qwen2", {}),
    ],
)
@pytest.mark.parametrize("thrift", [{}, {"recomputed": 2}, {"recomputed": 3, "feed_forward_tokens": 16, "head_tokens": 10}])
def test_loss_and_gradients_are_those_of_the_libraries(family: str, options: dict[str, Any], thrift: dict[str, Any]) -> None:
    from tests.worker.qlora.packed.models import gradients, plain_loss, rows, tiny

    model = tiny(family, **options)
    expected, some = plain_loss(model, rows()), rows()
    wanted = gradients(model)
    loss = run(model, some, **thrift)
    assert float(loss) == pytest.approx(float(expected), rel=NEAR)
    found = gradients(model)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert float((found[name] - gradient).norm()) <= NEAR * float(gradient.norm()), name


def test_a_recomputed_layer_drops_what_it_dropped() -> None:
    """Dropout is drawn by seed and place: the same with and without recomputing, other than without dropout, other by seed."""
    import torch

    from tests.worker.qlora.packed.models import gradients, rows, tiny

    model = tiny("Llama")
    whole = run(model, rows(), dropout=0.3)
    wanted = gradients(model)
    again = run(model, rows(), dropout=0.3, recomputed=3, feed_forward_tokens=16)
    assert float(again) == pytest.approx(float(whole), rel=NEAR)
    assert all(torch.allclose(gradient, wanted[name], atol=1e-6) for name, gradient in gradients(model).items())
    assert float(run(model, rows())) != pytest.approx(float(whole), rel=1e-4)


def test_dropout_keeps_the_mean_and_is_its_own_gradient() -> None:
    import torch

    from worker.qlora.packed.dropping import Drop

    drop = Drop(0.25, torch.tensor([5]), salt=2)
    kept = drop(torch.ones(200, 500))
    assert kept.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.01)
    assert torch.equal(kept[120:], Drop(0.25, torch.tensor([5]), salt=2, begin=120)(torch.ones(80, 500)))
    assert not torch.equal(kept, Drop(0.25, torch.tensor([6]), salt=2)(torch.ones(200, 500)))
    assert not torch.equal(kept, Drop(0.25, torch.tensor([5]), salt=3)(torch.ones(200, 500)))


def test_rows_do_not_see_each_other() -> None:
    """Another first row changes nothing in the gradient of the others' tokens."""
    from tests.worker.qlora.packed.models import gradients, rows, tiny

    model, (first, second, third) = tiny("Llama"), rows()
    silent = {**first, "labels": [-100] * len(first["labels"])}
    other = {"input_ids": [7] * 20, "labels": [-100] * 20}
    one = float(run(model, [silent, second, third]))
    wanted = gradients(model)
    assert float(run(model, [other, second, third])) == pytest.approx(one, rel=NEAR)
    for name, gradient in gradients(model).items():
        assert float((wanted[name] - gradient).norm()) <= NEAR * float(gradient.norm()), name


def test_the_adapter_stays_pefts() -> None:
    """What the optimizer changes in the one buffer is what PEFT saves and what its forward uses."""
    import torch
    from peft import get_peft_model_state_dict

    from tests.worker.qlora.packed.models import rows, tiny
    from worker.qlora.packed.decoder import Decoder, Thrift

    model = tiny("Llama")
    before = {name: value.clone() for name, value in get_peft_model_state_dict(model).items()}
    decoder = Decoder(model, dtype=torch.float32, thrift=Thrift())
    ids = torch.tensor([rows()[0]["input_ids"]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits
        decoder.adapter.weights.mul_(2)
        assert not torch.allclose(model(input_ids=ids).logits, logits)
    after = get_peft_model_state_dict(model)
    assert all(torch.equal(after[name], 2 * value) for name, value in before.items())
