"""How much memory of a GPU a run takes, in named parts that add up. A first estimate: pure arithmetic, no tensor library.

Fitted to runs of Nibble's trainer on an H100 (a Llama of 6.88e9 parameters, rank 16 on all linear layers, 4 rows of at most 111
tokens a pass; bench/results/nibble_on_gpu.json): peak allocated 4.58 GiB under QLoRA, 6.69 GiB without activation checkpointing,
13.48 GiB under LoRA in bf16; the estimate is within 2 % of each. Where the longest row is not known every row counts as full, so it
errs on the side of too much.
"""

from dataclasses import dataclass, fields

from worker.contract.model_shape import ModelShape
from worker.contract.plan import ExecutionPlan
from worker.contract.quantization import BitsAndBytes4Bit
from worker.contract.spec import FinetuneSpec

NF4_BITS = 4.5  # 4 a weight, and a float32 scale for each block of 64
NF4_DOUBLE_QUANT_BITS = 4.127  # the scales in 8 bits, with a float32 scale for each 256 of them
LOGIT_BYTES = 10  # the loss: logits in 16 bits and in float32, and their gradient
CONTEXT_BYTES = 768 * 2**20  # CUDA itself, cuBLAS and the kernels: 0.7 to 0.8 GiB measured
SLACK = 0.05  # reserved by the allocator and not in use: 2 to 8 % measured
STATE_BYTES = {"lion_8bit": 1, "8bit": 2, "sgd": 0}  # by how the name ends; any other keeps two float32 moments


@dataclass(frozen=True)
class RowLengths:
    """Tokens of the data's rows, after they are cut to the max length."""

    longest: int
    mean: float


@dataclass(frozen=True)
class MemoryParts:
    """Bytes of device memory, one field a part."""

    linear_weights: int
    """Of the frozen base model: what quantisation makes smaller."""
    other_weights: int
    """Embeddings, output head and norms: never quantised."""
    adapter: int
    gradients: int
    optimizer_states: int
    activations: int
    logits: int
    dequantised_layer: int
    """The largest layer, unpacked for its matrix product."""
    slack: int
    cuda_context: int

    @property
    def total(self) -> int:
        return sum(int(getattr(self, part.name)) for part in fields(self))

    @property
    def allocated(self) -> int:
        """What torch counts as allocated at its peak: all but CUDA's own memory and what the allocator holds in reserve."""
        return self.total - self.slack - self.cuda_context

    def as_dict(self) -> dict[str, int]:
        return {part.name: int(getattr(self, part.name)) for part in fields(self)}

    @property
    def weights(self) -> int:
        """What the base model alone takes."""
        return self.linear_weights + self.other_weights


def memory_parts(
    spec: FinetuneSpec,
    shape: ModelShape,
    *,
    rows: RowLengths | None = None,
    plan: ExecutionPlan | None = None,
    card_bytes: int | None = None,
) -> MemoryParts:
    """`rows`: of the data, when they are known. `plan`: how it is executed; without one: the fastest that fits into `card_bytes`."""
    row = min(spec.training.max_length, rows.longest if rows else spec.training.max_length)
    tokens = spec.training.per_device_train_batch_size * row
    linear = sum(rows * columns for rows, columns in _layers(shape).values()) * shape.num_hidden_layers
    linear = min(linear, shape.parameters)
    bits, other_bytes, largest = _storage(spec, shape)
    trained = _trained_parameters(spec, shape)
    parts = {
        "linear_weights": int(linear * bits / 8),
        "other_weights": (shape.parameters - linear) * other_bytes,
        "adapter": 4 * trained,
        "gradients": 4 * trained,
        "optimizer_states": _state_bytes(spec.optimizer.optim) * trained,
        "activations": _activations(spec, shape, tokens),
        "logits": tokens * shape.vocab_size * LOGIT_BYTES,
        "dequantised_layer": largest,
    }
    return MemoryParts(**parts, slack=int(SLACK * sum(parts.values())), cuda_context=CONTEXT_BYTES)


def _layers(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the linear layers of one decoder layer, as Llama and its relatives have them."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    narrow = _key_value_width(shape)
    attention = {"q_proj": (hidden, hidden), "k_proj": (hidden, narrow), "v_proj": (hidden, narrow), "o_proj": (hidden, hidden)}
    return attention | {"gate_proj": (hidden, inner), "up_proj": (hidden, inner), "down_proj": (inner, hidden)}


def _key_value_width(shape: ModelShape) -> int:
    return shape.hidden_size * shape.num_key_value_heads // shape.num_attention_heads


def _storage(spec: FinetuneSpec, shape: ModelShape) -> tuple[float, int, int]:
    """(bits of a linear weight, bytes of any other weight, bytes of the largest layer when it is unpacked)."""
    quantization = spec.quantization
    if isinstance(quantization, BitsAndBytes4Bit):
        wide = 4 if quantization.bnb_4bit_compute_dtype == "float32" else 2
        largest = max(rows * columns for rows, columns in _layers(shape).values())
        return NF4_DOUBLE_QUANT_BITS if quantization.bnb_4bit_use_double_quant else NF4_BITS, 2, wide * largest
    wide = 4 if quantization.dtype == "float32" else 2
    return 8 * wide, wide, 0


def _trained_parameters(spec: FinetuneSpec, shape: ModelShape) -> int:
    """Two matrices a layer: inputs × r and r × outputs. A layer that Llama does not have counts as hidden × hidden."""
    known, asked = _layers(shape), spec.lora.target_modules
    names = known.keys() if asked == "auto" else {name.rsplit(".", 1)[-1] for name in asked}
    square = (shape.hidden_size, shape.hidden_size)
    return shape.num_hidden_layers * spec.lora.r * sum(sum(known.get(name, square)) for name in names)


def _state_bytes(optim: str) -> int:
    """Paged states count as well: they lie on the card for as long as it has room."""
    return next((size for ending, size in STATE_BYTES.items() if optim.endswith(ending)), 8)


def _activations(spec: FinetuneSpec, shape: ModelShape, tokens: int) -> int:
    """What the way back needs. With checkpointing: the input of each layer, and one layer computed anew at a time."""
    layer = 15 * shape.hidden_size + 4 * _key_value_width(shape) + 8 * shape.intermediate_size
    if not spec.training.activation_checkpointing:
        return tokens * layer * shape.num_hidden_layers
    return tokens * (layer + 2 * shape.hidden_size * shape.num_hidden_layers)
