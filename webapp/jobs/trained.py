"""How many parameters a run trains, from the model's shape alone. Pure."""

from worker.contract.model_shape import ModelShape
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import memory_parts


def trained_parameters(spec: FinetuneSpec, shape: ModelShape) -> int:
    if spec.is_full:
        return shape.parameters
    return memory_parts(spec, shape).adapter // 4  # kept in float32
