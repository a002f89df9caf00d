"""What was noticed about a file and made no difference: the report says it, so that nobody has to wonder."""

from dataclasses import dataclass, field
from pathlib import PurePath

from worker.rows.sources.forms import Form

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "delimited",
    ".tsv": "delimited",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
    ".md": "text",
}
PACKED = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
CALLED = {"jsonl": "JSONL", "json": "JSON", "delimited": "a table", "parquet": "Parquet", "text": "plain text"}


@dataclass
class Notes:
    """`said`: sentences for the user."""

    file: int
    name: str
    form: str = ""
    packing: str = ""
    said: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        if sentence and sentence not in self.said:
            self.said.append(sentence)


def say_what_it_is(notes: Notes, form: Form, *, packing: str) -> None:
    notes.form, notes.packing = form.kind, packing
    if packing:
        notes.say(f"Unpacked ({packing}).")
    notes.say(_misnamed(notes.name, form, packing=packing))
    if form.kind == "json" and form.layout == "object":
        notes.say(f"The rows are the list under “{form.key[:100]}”.")
    if form.kind == "json" and form.layout == "objects":
        notes.say("The rows are JSON objects over several lines.")
    if form.kind == "delimited":
        notes.say(f"A table whose fields are separated by {SEPARATORS[form.separator]}; its first line names the columns.")
    if form.kind == "text":
        what = "line: there is no blank line between paragraphs" if form.by_line else "paragraph: blank lines stand between them"
        notes.say(f"Plain text with a row for each {what}.")


def _misnamed(name: str, form: Form, *, packing: str) -> str:
    """Content decides: said where the name says something else."""
    path = PurePath(name.lower())
    is_packed = PACKED.get(path.suffix)
    promised = ENDINGS.get(PurePath(path.stem).suffix if is_packed else path.suffix)
    found = CALLED[form.kind]
    if is_packed and is_packed != packing:
        return f"In spite of its name the file is {'packed with ' + packing if packing else 'not packed'}; it was read as {found}."
    if promised is None or promised == form.kind or (promised == "json" and form.kind == "jsonl"):
        return ""
    return f"In spite of its name the file is {found}: what is in a file decides."
