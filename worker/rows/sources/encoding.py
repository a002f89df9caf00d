"""UTF-8 or not: a file in another encoding is refused with its name, before its rows are shown as broken."""

import codecs
from collections.abc import Iterator

from worker.rows.errors import FileRefused

BOM = codecs.BOM_UTF8
MARKS = {  # UTF-32's begins with UTF-16's, so it comes first
    codecs.BOM_UTF32_LE: "UTF-32LE",
    codecs.BOM_UTF32_BE: "UTF-32BE",
    codecs.BOM_UTF16_LE: "UTF-16LE",
    codecs.BOM_UTF16_BE: "UTF-16BE",
}
SAMPLE_BYTES = 64 * 1024
CANDIDATES = [
    "cp1252",
    "cp1250",
    "cp1251",
    "shift_jis",
    "euc_jp",
    "gb18030",
    "big5",
    "euc_kr",
    "koi8_r",
    "cp1253",
    "cp1255",
    "cp1256",
]
NAMES = {"cp1252": "Windows-1252 (also called Latin-1)", "cp1250": "Windows-1250", "cp1251": "Windows-1251"}


def refuse_wide(start: bytes) -> None:
    """UTF-16 and UTF-32, by their mark or, without one, by the zeros beside every Latin letter."""
    for mark, name in MARKS.items():
        if start.startswith(mark):
            raise other_encoding(name, name)
    sample = start[:4096]
    if len(sample) < 8 or sample.count(0) < len(sample) // 4:
        return
    zeros = "".join("0" if sample[place::4].count(0) * 4 > len(sample) * 0.7 else "x" for place in range(4))
    found = {"x000": "UTF-32LE", "000x": "UTF-32BE", "x0x0": "UTF-16LE", "0x0x": "UTF-16BE"}.get(zeros)
    if found:
        raise other_encoding(found, found)


def in_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks as they are. FileRefused if the first character beyond ASCII is not UTF-8: then none is. Later ones are rows' faults."""
    line, rest = 1, b""
    for chunk in chunks:
        data = rest + chunk
        rest = b""
        if not data.isascii():
            refused = _first_bad(data)
            if refused is None or not data[:refused].isascii():
                yield chunk
                break
            if len(data) - refused < 4 and _may_go_on(data[refused:]):
                rest = data[refused:]
            else:
                raise _refusal(data, at=refused, line=line + data.count(b"\n", 0, refused))
        line += chunk.count(b"\n")
        yield chunk
    else:
        if rest:
            raise _refusal(rest, at=0, line=line)
    yield from chunks


def _first_bad(data: bytes) -> int | None:
    try:
        codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError as error:
        return error.start
    return None


def _may_go_on(end: bytes) -> bool:
    """The beginning of a character whose rest is in the next chunk."""
    return codecs.utf_8_decode(end, "ignore", False)[1] == 0


def _refusal(data: bytes, *, at: int, line: int) -> FileRefused:
    name = _name_of(data[max(0, at - 2000) : at + SAMPLE_BYTES])
    place = f"line {line:,} has the byte 0x{data[at]:02x}"
    if name is None:
        reason, fix = f"The file is not UTF-8: {place}.", "Save it as UTF-8; most editors ask for the encoding when they save."
        return FileRefused("not_utf8", reason=reason, fix=fix, line=line)
    return other_encoding(NAMES.get(name, name.upper().replace("_", "-")), name, line=line, place=f": {place}")


def _name_of(sample: bytes) -> str | None:
    import charset_normalizer  # 0.1 s that files in UTF-8 need not wait for

    best = charset_normalizer.from_bytes(sample, cp_isolation=CANDIDATES, threshold=0.5, preemptive_behaviour=False).best()
    if best and best.encoding == "cp1250" and _is_western(sample):
        return "cp1252"
    return best.encoding if best else None


def _is_western(sample: bytes) -> bool:
    """é and ü are the same bytes in both; Polish or Czech read as Western is full of ¿ and ³."""
    text = sample.decode("cp1252", "replace")
    return all(letter.isalpha() or letter in "‘’“”–—…€«»°§\xa0" for letter in text if not letter.isascii())


def other_encoding(shown: str, name: str, *, line: int | None = None, place: str = "") -> FileRefused:
    return FileRefused(
        "not_utf8",
        reason=f"The file is not UTF-8 but, it seems, {shown}{place}.",
        fix=f"Convert it: iconv -f {name} -t utf-8 FILE > FILE-utf8",
        line=line,
    )
