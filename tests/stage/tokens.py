"""Token statistics of the stage: lengths as chats have them, a few rows with faults of the mask."""

import random

from tests.webapp.tokenization.counted import counted, give_tokenizer, report_of
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion

LONGEST = 2600


def count_tokens(version: DatasetVersion, *, model: BaseModel) -> None:
    """Most rows of some 200 tokens, a tail up to LONGEST."""
    chance = random.Random(11)
    lengths = [min(LONGEST, 30 + int(chance.lognormvariate(4.9, 0.62))) for _ in range(version.rows)]
    give_tokenizer(model)
    counted(version, model=model, report=report_of(lengths, untrained=(17, 203, 1044)))
