"""Optimizer states out of a checkpoint, put where they were: paged ones into memory that pages again.

bitsandbytes would load the states of a paged optimizer as plain tensors on the card, all at once and for good: a run that needed
the paging would not survive its own resumption.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from worker.qlora.exhaustion import is_card_out_of_memory, is_host_out_of_memory
from worker.qlora.failures import RunFailed

PAGED = ("state1", "state2")
CANNOT_LOAD = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, pickle.UnpicklingError)


@contextmanager
def loading(checkpoint: str | Path) -> Iterator[None]:
    """What cannot be loaded although every byte of it is right was written by libraries that these ones do not read."""
    try:
        yield
    except CANNOT_LOAD as error:
        if is_card_out_of_memory(error) or is_host_out_of_memory(error):
            raise
        raise RunFailed(
            "checkpoint_unusable",
            f"{Path(checkpoint).name} is whole, but the libraries of this worker cannot load it: {error}",
            advice="Its manifest names the versions that it was made with. Use a worker with those, or start from the beginning.",
        ) from error


def load_states(optimizer: Any, path: Path) -> None:
    states = torch.load(path, map_location="cpu", weights_only=True)
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    if getattr(inner, "is_paged", False):
        inner.load_state_dict(states, move_to_device=False)
        for parameter, values in inner.state.items():
            inner.state[parameter] = {name: _placed(inner, parameter, name, value) for name, value in values.items()}
    else:
        optimizer.load_state_dict(states)


def _placed(optimizer: Any, parameter: Any, name: str, value: Any) -> Any:
    """get_state_buffer is how bitsandbytes makes a state: paged if it is large, on the card if not."""
    if not torch.is_tensor(value):
        return value
    if name not in PAGED:
        return value.to(parameter.device)
    # AdEMAMix keeps two averages in one tensor
    make = optimizer.get_state_buffer if value.shape == parameter.shape else optimizer._get_state_double_buffer
    buffer = make(parameter, dtype=value.dtype)
    buffer.copy_(value)
    return buffer
