"""A tokenizer of the rows' own, over the `tokenizers` library: it reads a model's folder without transformers and without torch.

Text becomes the same tokens as with transformers' PreTrainedTokenizerFast, and a conversation the same text: tests compare them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Encoding
from tokenizers import Tokenizer as Backend

from worker.rows.errors import TokenizerUnusable

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDED_TOKEN = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True)
class RowTokenizer:
    """`named`: the special tokens that chat templates know by name."""

    backend: Backend
    named: Mapping[str, str]
    chat_template: str | None

    @property
    def eos_token(self) -> str | None:
        return self.named.get("eos_token")

    @cached_property
    def eos_token_id(self) -> int | None:
        return None if self.eos_token is None else self.backend.token_to_id(self.eos_token)

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """Text and id of the tokens that end turns, begin them, or mean nothing but themselves."""
        found = {token.content: id for id, token in self.backend.get_added_tokens_decoder().items() if token.special}
        if self.eos_token is not None and self.eos_token_id is not None:
            found[self.eos_token] = self.eos_token_id
        return found

    def with_template(self, source: str) -> "RowTokenizer":
        return replace(self, chat_template=source)

    def encode_all(self, texts: Sequence[str], *, adds_special: bool = False) -> list[list[int]]:
        """Token ids of each text, on all cores. Without offsets: the library is up to 1.7 times as fast then."""
        return [each.ids for each in self.backend.encode_batch_fast(list(texts), add_special_tokens=adds_special)]

    def encode(self, text: str, *, adds_special: bool = False) -> list[int]:
        return list(self.backend.encode(text, add_special_tokens=adds_special).ids)

    def locate(self, texts: Sequence[str]) -> list[Encoding]:
        """Ids and offsets: where in the text each token stands."""
        return list(self.backend.encode_batch(list(texts), add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.backend.decode(list(ids), skip_special_tokens=False))


def load_tokenizer(folder: Path) -> RowTokenizer:
    """From tokenizer.json, tokenizer_config.json and chat templates of a model's folder. Raises TokenizerUnusable."""
    try:
        backend = Backend.from_file(str(folder / "tokenizer.json"))
        config = _read(folder / "tokenizer_config.json")
        added = _with_older_files(config, folder)
        template = _template(config, folder)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise TokenizerUnusable(f"The tokenizer cannot be read: {error}") from error
    except Exception as error:  # tokenizers raises bare Exceptions
        if type(error) is not Exception:
            raise
        raise TokenizerUnusable(f"tokenizer.json cannot be read: {error}") from error
    named = {name: _content(value) for name, value in config.items() if name.endswith("_token") and _content(value)}
    _add(backend, config=config, added=added, named=named)
    return over(backend, named=named, chat_template=template)


def over(backend: Backend, *, named: Mapping[str, str], chat_template: str | None) -> RowTokenizer:
    """Rows are cut and padded by who trains on them: what a tokenizer.json says about that is switched off."""
    backend.no_truncation()
    backend.no_padding()
    return RowTokenizer(backend=backend, named=dict(named), chat_template=chat_template)


def _read(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return found


def _content(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _with_older_files(config: dict[str, Any], folder: Path) -> list[AddedToken]:
    """Tokens that the configuration adds. Before added_tokens_decoder two files of their own said it."""
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    if isinstance(extra, dict):
        config.update(extra)
        extra = []
    if "added_tokens_decoder" in config:
        decoder = config["added_tokens_decoder"]
        return [_token(decoder[id]) for id in sorted(decoder, key=int)] + [_token(each, special=True) for each in extra]
    config.update({name: value for name, value in _read(folder / "special_tokens_map.json").items() if name.endswith("_token")})
    older = _read(folder / "added_tokens.json")
    special = {_content(config.get(name)) for name in NAMED} | {_content(each) for each in extra}
    found = [
        AddedToken(text, special=text in special, normalized=text not in special) for text in sorted(older, key=older.__getitem__)
    ]
    return found + [_token(each, special=True) for each in extra]


def _token(value: Any, *, special: bool = False) -> AddedToken:
    if isinstance(value, dict):
        flags = {name: bool(value[name]) for name in ADDED_TOKEN if name in value}
        return AddedToken(_content(value), **({"special": special} | flags))
    return AddedToken(str(value), special=special, normalized=not special)


def _add(backend: Backend, *, config: dict[str, Any], added: list[AddedToken], named: Mapping[str, str]) -> None:
    """What tokenizer.json does not have already. Named ones are special whatever they were called before."""
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    backend.add_tokens([token for token in added if token.content not in known])
    values = [config[name] for name in named]
    backend.add_special_tokens([_token(value, special=True) for value in values])
    backend.encode_special_tokens = bool(config.get("split_special_tokens", False))


def _template(config: dict[str, Any], folder: Path) -> str | None:
    """The file stands before the configuration, as in transformers."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    given = config.get("chat_template")
    if isinstance(given, list):
        given = {each.get("name"): each.get("template") for each in given if isinstance(each, dict)}
    return default_template(given)


def default_template(given: Any) -> str | None:
    """Some models have several, by name; transformers renders the default one when it is given no name."""
    if isinstance(given, dict):
        given = given.get("default")
    return given if isinstance(given, str) else None
