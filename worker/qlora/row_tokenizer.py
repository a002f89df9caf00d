"""The rows' tokenizer beside transformers': rows are trained on as the dashboard shows them, if both agree about tokens.

The model will be asked through transformers, so where the two differ (some model classes build their tokenizer anew, whatever
tokenizer.json says) transformers' backend is taken, and the run says so.
"""

from pathlib import Path
from typing import Any

from worker.contract.chat_templates import read_chat_template
from worker.contract.dataset import ChatTemplate
from worker.qlora.failures import RunFailed
from worker.rows.errors import TokenizerUnusable
from worker.rows.tokenizer import RowTokenizer, default_template, load_tokenizer, over

PROBES = (
    "Hello world! It's  12.5 °C — naïve café, 東京 🚢.\n\n  def f(x):\n\treturn x ** 2\r\n",
    " leading space, trailing space ",
    "",
)
DIFFERS = (
    "transformers builds this model's tokenizer otherwise than its tokenizer.json says. The rows are tokenised as transformers does; "
    "the dashboard's view of tokens may differ."
)


def row_tokenizer(tokenizer: Any, *, folder: Path, chat_template: ChatTemplate = "") -> tuple[RowTokenizer, str]:
    """`tokenizer` is transformers', and gets the chosen template: it is saved with it. With a notice, empty if there is none."""
    found, notice = _found(tokenizer, folder=folder)
    if not chat_template:
        return found, notice
    tokenizer.chat_template = read_chat_template(chat_template)
    return found.with_template(tokenizer.chat_template), notice


def _found(tokenizer: Any, *, folder: Path) -> tuple[RowTokenizer, str]:
    theirs = wrapped(tokenizer)
    try:
        ours = load_tokenizer(folder)
    except TokenizerUnusable:  # no tokenizer.json: transformers has converted another file
        return theirs, ""
    return (ours, "") if agree(ours, theirs) else (theirs, DIFFERS)


def wrapped(tokenizer: Any) -> RowTokenizer:
    """transformers' own backend, with its special tokens and template."""
    if not tokenizer.is_fast:
        raise RunFailed(
            "model_unavailable",
            "The model's tokenizer is one that transformers runs in Python; rows need one that has a tokenizer.json.",
            advice="Save it once as a fast tokenizer: AutoTokenizer.from_pretrained(folder).save_pretrained(folder).",
        )
    template = default_template(tokenizer.chat_template)
    return over(tokenizer.backend_tokenizer, named=tokenizer.special_tokens_map, chat_template=template)


def agree(one: RowTokenizer, other: RowTokenizer) -> bool:
    """About special tokens and about texts that show how a tokenizer normalises, splits and begins."""
    if (one.special_tokens, one.eos_token, one.chat_template) != (other.special_tokens, other.eos_token, other.chat_template):
        return False
    texts = [*PROBES, *(f"{token}{text} {token}" for token in one.special_tokens for text in PROBES[:1])][:64]
    return all(
        one.encode_all(texts, adds_special=adds_special) == other.encode_all(texts, adds_special=adds_special)
        for adds_special in (True, False)
    )
