"""The problems file: every row that cannot be used, with its source, and every warning about one that can."""

from types import MappingProxyType

import pyarrow as pa

from worker.rows.whole_files import WholeFile

SCHEMA = pa.schema(
    [
        pa.field("file", pa.int16(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("is_warning", pa.bool_(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("fix", pa.string(), nullable=False),
        pa.field("raw", pa.large_binary(), nullable=False),
    ]
)


class ProblemsWriter(WholeFile):
    """A warning leaves its row usable. `raw` is the row as it stood in its file, for whoever mends it."""

    schema = SCHEMA
    options = MappingProxyType({})
