"""What cannot go packed is told why, on the machine that it is asked on."""

from types import SimpleNamespace

import pytest

from worker.contract.spec import FinetuneSpec
from worker.qlora.packed.refusing import why_not_packed
from worker.qlora.precision import Precision

LLAMA = SimpleNamespace(architectures=["LlamaForCausalLM"], hidden_act="silu")
ASKED = {"base_model": {"kind": "folder", "name_or_path": "/models/one"}, "training": {"max_steps": 3}}


@pytest.mark.parametrize(
    ("dtype", "has_gpu", "why"),
    [
        ("float32", True, "flash attention on a GPU has no float32"),
        ("float32", False, ""),
        ("bfloat16", True, ""),
        ("bfloat16", False, ""),
    ],
)
def test_float32_goes_trls_way_on_a_gpu(monkeypatch: pytest.MonkeyPatch, dtype: str, has_gpu: bool, why: str) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_gpu)
    precision = Precision(dtype=dtype, bf16=dtype == "bfloat16", fp16=False)  # type: ignore[arg-type]
    assert why_not_packed(LLAMA, spec=FinetuneSpec.model_validate(ASKED), precision=precision) == why
