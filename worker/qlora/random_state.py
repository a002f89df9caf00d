"""Random states put back: what only looks at the model (a rehearsal, an evaluation) must not change what is trained."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Python's, numpy's, torch's and every card's. An evaluation alone draws one number for its data loader."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cards = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cards:
            torch.cuda.set_rng_state_all(cards)
