"""The parts of the memory estimate and the plan that it was made for, in words. Pure."""

from collections.abc import Iterator

from worker.contract.model_shape import ModelShape
from worker.contract.plan import ExecutionPlan

PARTS: dict[str, tuple[str, str]] = {
    "linear_weights": ("Base model", "The weights of its linear layers: what quantisation makes smaller."),
    "other_weights": ("Embeddings", "Embeddings, output head and norms of the base model: never quantised."),
    "adapter": ("Adapter", "The weights that are trained, in 32 bits."),
    "gradients": ("Gradients", "One number for each weight that is trained."),
    "optimizer_states": ("Optimizer", "What the optimizer remembers of each trained weight: mostly two numbers."),
    "paged_states": ("Paged states", "The optimizer's, while the card has room; what does not fit waits in the host's memory."),
    "activations": (
        "Activations",
        "What each layer computed on the way forward and needs on the way back. Grows with the tokens of a pass.",
    ),
    "logits": ("Loss", "A number for each word of the vocabulary, for the tokens whose loss is computed at once."),
    "dequantised_layer": (
        "Unpacking",
        "Layers unpacked from their few bits for their matrix products: the largest one, and those that there is room to keep.",
    ),
    "workspaces": ("Workspaces", "What the matrix products and kernels keep at hand."),
    "slack": ("Allocator", "Reserved by the memory allocator and not in use at the moment of the peak."),
    "cuda_context": ("CUDA", "CUDA itself, its libraries and kernels."),
}


def part_words(name: str) -> tuple[str, str]:
    """(title, what it is)"""
    return PARTS.get(name, (name.replace("_", " ").capitalize(), ""))


def plan_words(plan: ExecutionPlan, shape: ModelShape) -> tuple[str, ...]:
    return tuple(_plan_words(plan, shape))


def _plan_words(plan: ExecutionPlan, shape: ModelShape) -> Iterator[str]:
    rows, passes = plan.passes.per_device_train_batch_size, plan.passes.gradient_accumulation_steps
    how = "laid end to end" if plan.kind == "packed" else "padded to the longest, as TRL does it"
    each = f"{rows:,} {'row' if rows == 1 else 'rows'}"
    yield f"{each} a pass, {how}; {passes:,} {'pass' if passes == 1 else 'passes'} a step"
    layers = shape.num_hidden_layers
    again = plan.recomputed_layers if plan.kind == "packed" else layers * plan.passes.activation_checkpointing
    yield f"{again} of {layers} layers computed again on the way back" if again else "nothing computed twice"
    if plan.unpacked_layers:
        which = "all layers" if plan.unpacked_layers == layers else f"{plan.unpacked_layers} of {layers} layers"
        yield f"the weights of {which} kept unpacked as well, because there is room"
    if plan.on_host:
        yield "inputs of those layers wait in the host's memory"
    if plan.feed_forward_tokens:
        yield f"the feed-forward takes {plan.feed_forward_tokens:,} tokens at a time"
