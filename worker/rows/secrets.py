"""Keys, cards and addresses in rows: a model repeats what it was trained on. One look at all bytes, and an exact one where it hit."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import re2
from stdnum import iban, luhn

from worker.contract.row_warnings import WarningKind

TOKENS = {
    "an AWS access key": (("AKIA", "ASIA"), r"(?:AKIA|ASIA)[A-Z2-7]{16}"),
    "a GitHub token": (("gh", "git"), r"gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{50,255}"),
    "an Anthropic key": (("sk-ant-",), r"sk-ant-[A-Za-z0-9_-]{32,255}"),
    "an OpenAI key": (("sk-",), r"sk-(?:proj-|svcacct-|admin-)[A-Za-z0-9_-]{32,255}|sk-[A-Za-z0-9]{40,255}"),
    "a Hugging Face token": (("hf_",), r"hf_[A-Za-z]{34}"),
    "a Slack token": (("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{10,255}"),
    "a Google API key": (("AIza",), r"AIza[A-Za-z0-9_-]{35}"),
    "a Stripe key": (("k_live_",), r"[rs]k_live_[A-Za-z0-9]{20,255}"),
    "a JSON web token": (("eyJ",), r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
}
PRIVATE_KEY = r"-----BEGIN (?:[A-Z]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
EMAIL = r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}"
CARD = r"[3-6]\d{3}[ -]?(?:\d{4}[ -]?\d{4}[ -]?\d{1,7}|\d{6}[ -]?\d{4,5})"
IBAN = r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?"
NOBODYS = re.compile(
    r"@(?:.+\.)?(?:example\.(?:com|net|org)|(?:.+\.)?(?:example|invalid|test|localhost))$", re.IGNORECASE
)  # RFC 2606


class Private(NamedTuple):
    """`shown` is cut in the middle: a report must not spread what it warns of."""

    kind: WarningKind
    what: str
    column: str
    shown: str


class Rule(NamedTuple):
    """`near`: no text without one of these has it; none: every text is looked at."""

    kind: WarningKind
    what: str
    near: tuple[str, ...]
    pattern: re.Pattern[str]
    is_real: Callable[[str], bool]
    cut: Callable[[str], str]


def _ends(text: str, *, first: int = 4, last: int = 4) -> str:
    return f"{text[:first]}…{text[-last:]}" if len(text) >= 2 * (first + last) else f"{text[:2]}…"


def _address(text: str) -> str:
    return f"{text[0]}…{text[text.index('@') :]}"


def _is_card(text: str) -> bool:
    """The numbers that card schemes give out, with their check digit."""
    digits = text.replace(" ", "").replace("-", "")
    return bool(_CARDS.fullmatch(digits)) and len(set(digits)) > 1 and luhn.is_valid(digits)


_CARDS = re.compile(
    r"4\d{12}(?:\d{3}(?:\d{3})?)?"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"  # American Express, Diners
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"  # Discover, JCB, UnionPay
)
# Letters and digits on both sides make it part of something longer: a hash, a number of another kind.
_WHOLE = r"(?<![A-Za-z0-9]){}(?![A-Za-z0-9])"
RULES = (
    Rule(
        "private_key", "the start of a private key", ("-----BEGIN",), re.compile(PRIVATE_KEY), lambda text: True, lambda text: text
    ),
    *(
        Rule("access_token", what, near, re.compile(_WHOLE.format(f"(?:{token})")), lambda text: True, _ends)
        for what, (near, token) in TOKENS.items()
    ),
    Rule("card_number", "a payment card's number", (), re.compile(rf"(?<![\w.-]){CARD}(?![\w-])(?!\.\d)"), _is_card, _ends),
    Rule("iban", "a bank account (IBAN)", (), re.compile(_WHOLE.format(f"(?:{IBAN})")), iban.is_valid, _ends),
    Rule(
        "email_address",
        "an e-mail address",
        ("@",),
        re.compile(rf"(?<![\w.%+-]){EMAIL}(?![\w-])"),
        lambda text: not NOBODYS.search(text),
        _address,
    ),
)
_ANY = re2.compile("|".join([PRIVATE_KEY, *(token for _, token in TOKENS.values()), EMAIL, CARD, IBAN]).encode())


def suspects(joined: bytes) -> Iterator[int]:
    """Places in JSON where something may begin, more than are real: 700 MB/s, where Python's own re does 28 (decision 0044)."""
    return (hit.start() for hit in _ANY.finditer(joined))


def private_parts(row: Any) -> list[Private]:
    """Of a row in canonical form; the first of each kind."""
    found: dict[str, Private] = {}
    for column, text in texts_of(row):
        for rule in RULES:
            is_near = not rule.near or any(part in text for part in rule.near)
            if is_near and rule.what not in found and (match := _first(rule, text)):
                found[rule.what] = Private(rule.kind, rule.what, column, rule.cut(match))
    return list(found.values())


def _first(rule: Rule, text: str) -> str | None:
    return next((match.group() for match in rule.pattern.finditer(text) if rule.is_real(match.group())), None)


def texts_of(value: Any, column: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a row with its place: messages[2].content."""
    if isinstance(value, str):
        yield column, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts_of(inner, f"{column}.{key}" if column else key)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from texts_of(inner, f"{column}[{place}]")
