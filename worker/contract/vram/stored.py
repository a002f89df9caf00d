"""What lies on the card through the whole run: weights as bitsandbytes stores them, adapter, gradients, optimizer states."""

from dataclasses import dataclass
from math import sqrt

from worker.contract.model_shape import LinearLayer, ModelShape
from worker.contract.quantization import BitsAndBytes4Bit, BitsAndBytes8Bit
from worker.contract.spec import FinetuneSpec
from worker.contract.targets import names_of

BLOCK, NESTED = 64, 256  # weights to a scale; scales to a scale of scales
TABLES_BYTES = 2048  # of one 4-bit weight: its levels, the scales' levels and their offset, each rounded up to 512
PAGED_FROM = 100_000  # bitsandbytes leaves smaller tensors on the card
EIGHT_BIT_FROM, EIGHT_BIT_BLOCK = 4096, 256  # smaller tensors keep 32-bit states; a float32 scale to each 256 numbers
MOMENTS = {"adamw": 2.0, "lion": 1.0, "ademamix": 3.0, "rmsprop": 1.0, "adagrad": 1.0, "sgd": 0.0}
FLOAT = 4


def number_bytes(spec: FinetuneSpec) -> int:
    """Of a number in the type that the run computes in."""
    quantization = spec.quantization
    kind = quantization.bnb_4bit_compute_dtype if isinstance(quantization, BitsAndBytes4Bit) else quantization.dtype
    return 4 if kind == "float32" else 2


def weight_bytes(spec: FinetuneSpec) -> int:
    """Of a weight that is not quantised. Those that are trained are float32 (docs/decisions/0031)."""
    return FLOAT if spec.is_full else number_bytes(spec)


def linear_layers(shape: ModelShape) -> tuple[LinearLayer, ...]:
    """Llama's, where an older worker looked at the model."""
    if shape.linear_layers:
        return shape.linear_layers
    h, f = shape.hidden_size, shape.intermediate_size
    q, k = shape.num_attention_heads * head_dim(shape), shape.num_key_value_heads * head_dim(shape)
    ends = {
        "q_proj": (h, q),
        "k_proj": (h, k),
        "v_proj": (h, k),
        "o_proj": (q, h),
        "gate_proj": (h, f),
        "up_proj": (h, f),
        "down_proj": (f, h),
    }
    count = shape.num_hidden_layers
    return tuple(LinearLayer(name=name, inputs=ins, outputs=outs, count=count) for name, (ins, outs) in ends.items())


def head_dim(shape: ModelShape) -> int:
    return shape.head_dim or max(shape.hidden_size // shape.num_attention_heads, 1)


def adapted_layers(spec: FinetuneSpec, shape: ModelShape) -> tuple[LinearLayer, ...]:
    asked, layers = spec.lora.target_modules, linear_layers(shape)
    if isinstance(asked, str):
        among = names_of(asked, found=[layer.name for layer in layers])
        return tuple(layer for layer in layers if layer.name in among)
    names = {name.rsplit(".", 1)[-1] for name in asked}
    found = tuple(layer for layer in layers if layer.name in names)
    return found + tuple(_square(name, shape) for name in names - {layer.name for layer in found})


def _square(name: str, shape: ModelShape) -> LinearLayer:
    """A name that the shape does not have counts as hidden × hidden."""
    return LinearLayer(name=name, inputs=shape.hidden_size, outputs=shape.hidden_size, count=shape.num_hidden_layers)


def linear_bytes(spec: FinetuneSpec, shape: ModelShape) -> int:
    return sum(layer.count * _one_linear(spec, layer) for layer in linear_layers(shape))


def _one_linear(spec: FinetuneSpec, layer: LinearLayer) -> int:
    numbers, quantization = layer.inputs * layer.outputs, spec.quantization
    if isinstance(quantization, BitsAndBytes8Bit):
        return numbers + FLOAT * layer.outputs
    if not isinstance(quantization, BitsAndBytes4Bit):
        return numbers * weight_bytes(spec)
    blocks = -(-numbers // BLOCK)
    scales = blocks + FLOAT * -(-blocks // NESTED) if quantization.bnb_4bit_use_double_quant else FLOAT * blocks
    return (numbers + 1) // 2 + scales + TABLES_BYTES


def linear_parameters(shape: ModelShape) -> int:
    return min(sum(layer.count * layer.inputs * layer.outputs for layer in linear_layers(shape)), shape.parameters)


def other_bytes(spec: FinetuneSpec, shape: ModelShape) -> int:
    """Embeddings, output head, norms, stacked experts: never quantised. A reward model has a score in place of the words' head."""
    head = shape.vocab_size * shape.hidden_size if spec.objective.kind == "reward" and shape.is_tied is False else 0
    return (shape.parameters - linear_parameters(shape) - head) * weight_bytes(spec)


@dataclass(frozen=True)
class Trained:
    """Tensors that are trained: how many numbers each has, and how many such tensors there are."""

    tensors: tuple[tuple[int, int], ...]
    is_one: bool = False
    """The optimizer sees all of them as one."""
    bytes_each: int = FLOAT

    @property
    def numbers(self) -> int:
        return sum(numbers * count for numbers, count in self.tensors)

    @property
    def as_optimized(self) -> tuple[tuple[int, int], ...]:
        return ((self.numbers, 1),) if self.is_one else self.tensors


def trained_of(spec: FinetuneSpec, shape: ModelShape, *, is_one: bool) -> Trained:
    if spec.is_full:
        return full_weights(spec, shape)
    r, tensors = spec.lora.r, []
    for layer in adapted_layers(spec, shape):
        tensors += [(r * layer.inputs, layer.count), (r * layer.outputs, layer.count)]
        if spec.lora.use_dora:
            tensors.append((layer.outputs, layer.count))
    return Trained(tuple(tensors), is_one=is_one)


def full_weights(spec: FinetuneSpec, shape: ModelShape) -> Trained:
    linear = [(layer.inputs * layer.outputs, layer.count) for layer in linear_layers(shape)]
    tables = 1 if shape.is_tied else 2
    rest = max(shape.parameters - linear_parameters(shape) - tables * shape.vocab_size * shape.hidden_size, 0)
    norms = max(rest // shape.hidden_size, 1)
    tensors = (*linear, (shape.vocab_size * shape.hidden_size, tables), (rest // norms, norms))
    return Trained(tensors, bytes_each=weight_bytes(spec))


@dataclass(frozen=True)
class States:
    """Of the optimizer. Paged ones lie on the card while it has room, and give way; torch does not count them."""

    on_card: int
    paged: int


def states_of(spec: FinetuneSpec, trained: Trained) -> States:
    optim = spec.optimizer.optim
    on_card = paged = 0
    for numbers, count in trained.as_optimized:
        size = int(count * state_bytes(optim, numbers, weight_bytes=trained.bytes_each))
        if optim.startswith("paged_") and numbers >= PAGED_FROM:
            paged += size
        else:
            on_card += size
    return States(on_card, paged)


def state_bytes(optim: str, numbers: int, *, weight_bytes: int = FLOAT) -> float:
    """Of one tensor of so many numbers."""
    kind = optim.removeprefix("paged_").split("_")[0]
    if kind == "adafactor":
        return 2 * FLOAT * sqrt(numbers)  # a row and a column of a square one
    moments = MOMENTS[kind]
    if "8bit" in optim and numbers >= EIGHT_BIT_FROM:
        return moments * (numbers + FLOAT * numbers / EIGHT_BIT_BLOCK)
    own = "bnb" in optim or "32bit" in optim or "8bit" in optim or kind in ("ademamix", "lion")
    return moments * numbers * (FLOAT if own else weight_bytes)
