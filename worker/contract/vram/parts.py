"""The parts of a run's memory, at the moment that holds most."""

from dataclasses import dataclass, fields

OUTSIDE_TORCH = ("paged_states", "slack", "cuda_context")


@dataclass(frozen=True)
class RowLengths:
    """Tokens of the data's rows, after they are cut to the max length; of a preference pair both sequences together."""

    longest: int
    mean: float


@dataclass(frozen=True)
class MemoryParts:
    """Bytes of one GPU's memory, one field a part."""

    linear_weights: int
    """Of the frozen base model: what quantisation makes smaller."""
    other_weights: int
    """Embeddings, output head and norms: never quantised."""
    adapter: int
    gradients: int
    """At the moment that holds most: TRL's way has none before a step's first way back."""
    optimizer_states: int
    paged_states: int
    """Of a paged optimizer: on the card while it has room, in the host's memory otherwise."""
    activations: int
    logits: int
    dequantised_layer: int
    """The largest frozen matrices, unpacked for their product, and those that the plan keeps unpacked."""
    workspaces: int
    """What cuBLAS and the kernels keep at hand."""
    slack: int
    """Held by torch's allocator and not in use."""
    cuda_context: int

    @property
    def total(self) -> int:
        return sum(self.as_dict().values())

    @property
    def needed(self) -> int:
        """Without what gives way when the card is full."""
        return self.total - self.paged_states

    @property
    def allocated(self) -> int:
        """What torch counts as allocated at its peak: neither paged states, nor CUDA's own memory, nor what it holds in reserve."""
        return self.total - sum(int(getattr(self, name)) for name in OUTSIDE_TORCH)

    @property
    def weights(self) -> int:
        """What the base model alone takes."""
        return self.linear_weights + self.other_weights

    def as_dict(self) -> dict[str, int]:
        return {part.name: int(getattr(self, part.name)) for part in fields(self)}
