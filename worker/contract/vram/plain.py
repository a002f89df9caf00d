"""What a pass takes the way TRL runs it: padded rows, transformers' own layers, autograd's copies. Bytes at the step's peak.

The peak is the largest of a few moments: the output head, the last norm, the way back through the last layer and through the first,
and the optimizer's step. Before its way back a step's first pass has no gradients yet, and in the end few activations.
"""

from dataclasses import dataclass

from worker.contract.model_shape import ModelShape
from worker.contract.objective import sequences_of
from worker.contract.quantization import BitsAndBytes8Bit, Unquantized
from worker.contract.spec import FinetuneSpec
from worker.contract.vram.layer import Layer, dora_bytes, layer_of
from worker.contract.vram.stored import FLOAT, Trained, linear_layers, number_bytes

TILE_TOKENS, TILE_WORDS = 4096, 32_768  # TRL's output head makes the logits of so many tokens and words at once
NORM_BACK = 5  # float32 tensors of the stream's size that a norm's way back holds
ORPO_LOGITS = 14  # bytes: compute type, float32, the chosen half shifted and its log-softmax, and their gradients
FOREACH = ("adamw_torch", "adagrad", "rmsprop")  # a number of each weight's size is made for all weights at once


@dataclass(frozen=True)
class StepPeak:
    """All of the step's that comes and goes: gradients with it."""

    activations: int
    logits: int = 0
    unpacked: int = 0
    gradients: int = 0

    @property
    def total(self) -> int:
        return self.activations + self.logits + self.unpacked + self.gradients


@dataclass(frozen=True)
class Run:
    """`tokens`: of the largest pass, padding included. `mask`: bytes of the attention mask, 0 where no row is padded."""

    spec: FinetuneSpec
    shape: ModelShape
    trained: Trained
    tokens: int
    passes: int
    is_recomputed: bool
    mask: int = 0

    @property
    def layer(self) -> Layer:
        return layer_of(self.spec, self.shape, is_masked=self.mask > 0)

    @property
    def gradients(self) -> int:
        return self.trained.bytes_each * self.trained.numbers

    @property
    def casts(self) -> int:
        """Autocast keeps what it cast of the trained weights, which are float32, to the end of the pass."""
        b = number_bytes(self.spec)
        if b == FLOAT:
            return 0
        if self.spec.is_full:
            return b * sum(layer.inputs * layer.outputs * layer.count for layer in linear_layers(self.shape))
        return b * self.trained.numbers


def plain_peak(run: Run) -> StepPeak:
    moments = [*_at_the_head(run), *_in_the_last_layer(run), *_in_the_first_layer(run), _in_the_step(run)]
    return max(moments, key=lambda moment: moment.total)


def _kept(run: Run) -> int:
    """Of all layers. The first one's input needs no gradient, so its norm keeps nothing."""
    if run.is_recomputed:
        return run.tokens * (run.layer.stream + run.layer.held) * run.shape.num_hidden_layers
    first = 0 if run.spec.is_full else FLOAT * run.shape.hidden_size
    return run.tokens * (run.layer.kept * run.shape.num_hidden_layers - first) + run.casts


def _from_before(run: Run) -> int:
    return run.gradients if run.passes > 1 else 0


def _at_the_head(run: Run) -> list[StepPeak]:
    """The last norm's float32 input; the head's input, its gradient in float32 and in the compute type. Then that norm's way back."""
    h, b, kind = run.shape.hidden_size, number_bytes(run.spec), run.spec.objective.kind
    under = _kept(run) + run.mask + run.tokens * FLOAT * h
    back = StepPeak(under + run.tokens * NORM_BACK * FLOAT * h, 0, 0, _from_before(run))
    if kind == "reward":
        return [back]
    logits = b * min(run.tokens, TILE_TOKENS) * TILE_WORDS
    if kind == "orpo":
        logits = ORPO_LOGITS * run.tokens * run.shape.vocab_size
    of_head = FLOAT * run.shape.vocab_size * h if run.spec.is_full and not _from_before(run) else 0
    return [StepPeak(under + run.tokens * (FLOAT + 2 * b) * h, logits, 0, _from_before(run) + of_head), back]


def _in_a_layer(run: Run, *, others: int, gradients: int) -> list[StepPeak]:
    """`others`: bytes that the other layers keep."""
    casts = run.casts // run.shape.num_hidden_layers if run.is_recomputed else 0
    under = others + run.mask + run.tokens * run.layer.kept + casts
    moments = [StepPeak(under + run.tokens * run.layer.back, 0, dora_bytes(run.spec, run.shape), gradients)]
    if isinstance(run.spec.quantization, Unquantized):
        return moments
    b, h, down = number_bytes(run.spec), run.shape.hidden_size, linear_layers(run.shape)[-1]  # unpacked for its product
    back = run.tokens * b * (h + run.shape.intermediate_size)
    moments.append(StepPeak(under + back, 0, b * down.inputs * down.outputs, gradients))
    if isinstance(run.spec.quantization, BitsAndBytes8Bit):
        moments.append(StepPeak(under + run.tokens * 2 * b * h, 0, _of_outliers(run), gradients))
    return moments


def _of_outliers(run: Run) -> int:
    """The columns of the largest matrix that meet an outlier: taken out, and in float32 before and after their scales."""
    down = linear_layers(run.shape)[-1]
    return (1 + 2 * FLOAT) * down.inputs * down.outputs


def _in_the_last_layer(run: Run) -> list[StepPeak]:
    others = _kept(run) - (0 if run.is_recomputed else run.tokens * run.layer.kept)
    return _in_a_layer(run, others=max(others, 0), gradients=_from_before(run))


def _in_the_first_layer(run: Run) -> list[StepPeak]:
    """All other layers' gradients are there, and their activations gone."""
    layers = run.shape.num_hidden_layers
    table = FLOAT * run.shape.vocab_size * run.shape.hidden_size if run.spec.is_full and run.shape.is_tied else 0
    gradients = run.gradients if run.passes > 1 else run.gradients * (layers - 1) // layers
    return _in_a_layer(run, others=run.tokens * (run.layer.stream + run.layer.held * layers), gradients=gradients + table)


def _in_the_step(run: Run) -> StepPeak:
    made = run.trained.bytes_each * run.trained.numbers if run.spec.optimizer.optim in FOREACH else 0
    return StepPeak(made, gradients=run.gradients)


def mask_bytes(spec: FinetuneSpec, *, tokens: int, longest: int, is_padded: bool) -> int:
    """Of an attention mask: a byte for each pair of tokens of a row, and a number while attention reads it."""
    return tokens * longest // sequences_of(spec.objective.kind) * (1 + number_bytes(spec)) if is_padded else 0
