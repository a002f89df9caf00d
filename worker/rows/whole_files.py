"""A Parquet file of this room: there whole once its writer is closed, and not at all when an error ended the writing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass
class WholeFile:
    """Use it with `with`. A file without a single batch has its columns nevertheless."""

    path: Path
    _writer: pq.ParquetWriter = field(init=False)
    schema: ClassVar[pa.Schema]
    options: ClassVar[Mapping[str, Any]]

    def metadata(self) -> dict[str, str]:
        return {}

    def _flush(self) -> None:
        """Writes what was kept back."""

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(self.path, self.schema.with_metadata(self.metadata()), compression="zstd", **self.options)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        is_whole = False
        try:
            with self._writer:  # closing writes a footer, whatever was written before it
                if error is None:
                    self._flush()
            is_whole = error is None
        finally:
            if not is_whole:
                self.path.unlink()
