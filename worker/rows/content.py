"""The content of a message: a text, or a list of text parts that are joined; images and sound are refused."""

from typing import Any

from worker.rows.errors import RowRefused
from worker.rows.fields import clean
from worker.rows.notes import Notes
from worker.rows.shown import escaped, kind_of, shown

MEDIA = ("image", "audio", "video", "input_image", "input_audio", "input_video", "file", "input_file")
MEDIA_COLUMNS = ("images", "image", "audios", "audio", "videos", "video")


def text_of(content: Any, *, subject: str, column: str, may_be_empty: bool, notes: Notes) -> str:
    if isinstance(content, list):
        content = _joined(content, subject=subject, column=column, notes=notes)
    if content is None and may_be_empty:
        return ""
    if not isinstance(content, str):
        raise RowRefused(
            "content_not_text",
            reason=f"The content of {subject} is {kind_of(content)}, not a text.",
            fix='Write the content as a string: {"role": "user", "content": "…"}.',
            column=column,
            text="" if content is None else shown(content),
        )
    if not may_be_empty and (not content or content.isspace()):
        fix = "Fill it or leave the row out."
        raise RowRefused(
            "empty_content", reason=f"The content of {subject} is empty.", fix=fix, column=column, text=escaped(content)
        )
    return clean(content, name=f"The content of {subject}", column=column)


def _joined(parts: list[Any], *, subject: str, column: str, notes: Notes) -> Any:
    """Laid end to end without anything between, as chat templates write them."""
    texts = [_part(part, place=place, subject=subject, column=column) for place, part in enumerate(parts)]
    notes["text_parts"] += 1
    return "".join(texts)


def _part(part: Any, *, place: int, subject: str, column: str) -> str:
    where = f"{column}[{place}]"
    text = part.get("text") if isinstance(part, dict) else part
    if isinstance(part, dict):
        refuse_media(str(part.get("type", "")), column=where, text=shown(part))
    if not isinstance(text, str):
        reason = f"Part {place + 1} of the content of {subject} is {kind_of(text)}, not a text."
        fix = 'Write each part as {"type": "text", "text": "…"}, or the content as one string.'
        raise RowRefused("content_not_text", reason=reason, fix=fix, column=where, text=shown(part))
    return text


def refuse_media(kind: str, *, column: str, text: str) -> None:
    if kind.startswith(MEDIA):
        noun = next((noun for noun in ("image", "audio", "video") if noun in kind), "file")
        plural = {"image": "Images are", "audio": "Sound is", "video": "Videos are", "file": "Files are"}[noun]
        reason = f"{plural} not supported: Nibble trains on text alone, and the answer would be learned without what it is about."
        raise RowRefused("unsupported_media", reason=reason, fix="Leave the row out.", column=column, text=text)
