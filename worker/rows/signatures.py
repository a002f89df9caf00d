"""MinHash signatures of rows, written to files beside each other's: two rows have as many places in common as they share text."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow.parquet as pq
from rensa import RMinHash

from worker.rows.secrets import texts_of

BANDS, PLACES_A_BAND = 20, 6  # of rows that share 80 %, 99.8 % meet in some band; of those that share 50 %, 27 %, and are compared
PLACES = BANDS * PLACES_A_BAND
SEED = 20
WORDS, CHARS = 3, 5  # a shingle: so many words in a row, or characters where a script has no spaces
LETTERS_A_WORD = 20  # more on average, and the spaces are not what parts the words
ODD = np.random.default_rng(SEED).integers(0, 2**63, PLACES_A_BAND, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
BAND_BYTES, ROW_BYTES = 8, PLACES


@dataclass(frozen=True)
class Files:
    """`low`: the lowest byte of each place, row by row. A file for each band with a hash of its places, 8 bytes a row."""

    folder: Path

    @property
    def low(self) -> Path:
        return self.folder / "signatures"

    def band(self, number: int) -> Path:
        return self.folder / f"band-{number}"

    def all(self) -> list[Path]:
        return [self.low, *(self.band(number) for number in range(BANDS))]

    def make(self) -> None:
        for path in self.all():
            path.touch()

    def remove(self) -> None:
        for path in self.all():
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Group:
    """A row group of the rows file, and the number (from 0) of its first row."""

    number: int
    first: int


@dataclass(frozen=True)
class Signing:
    rows_file: Path
    files: Files


def begin_signing(signing: Signing) -> Callable[[Group], int]:
    """Returns how many rows were signed. Every process writes at the places of its own rows, so nothing goes through a pipe."""
    file = pq.ParquetFile(signing.rows_file)
    targets = [os.open(path, os.O_WRONLY) for path in signing.files.all()]  # until the process ends

    def sign(group: Group) -> int:
        rows = file.read_row_group(group.number, columns=["row"]).column("row").to_pylist()
        places = _signed([shingles_of(orjson.loads(row)) for row in rows])
        os.pwrite(targets[0], places.astype(np.uint8).tobytes(), group.first * ROW_BYTES)
        for target, hashes in zip(targets[1:], _bands(places), strict=True):
            os.pwrite(target, hashes.tobytes(), group.first * BAND_BYTES)
        return len(rows)

    return sign


def groups_of(rows_file: Path) -> Iterator[Group]:
    first = 0
    with pq.ParquetFile(rows_file) as file:
        for number in range(file.num_row_groups):
            yield Group(number, first)
            first += file.metadata.row_group(number).num_rows


def shingles_of(row: Any) -> list[str]:
    """Of all its texts. Upper and lower case, and how many spaces there are, make no difference."""
    text = " ".join(text for _, text in texts_of(row)).lower()
    words = text.split()
    if len(words) * LETTERS_A_WORD < len(text):
        joined = "".join(words)
        return [joined[start : start + CHARS] for start in range(max(1, len(joined) - CHARS + 1))]
    return list(map(" ".join, zip(words, words[1:], words[2:], strict=False))) if len(words) >= WORDS else [" ".join(words)]


def _signed(rows: list[list[str]]) -> npt.NDArray[np.uint32]:
    return np.array(RMinHash.digest_matrix_from_token_sets(rows, PLACES, SEED).to_rows(), dtype=np.uint32)


def _bands(places: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """By band a hash of each row: equal where all the band's places are."""
    mixed = (places.reshape(-1, BANDS, PLACES_A_BAND).astype(np.uint64) * ODD).sum(axis=2, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return np.ascontiguousarray(mixed.T)
