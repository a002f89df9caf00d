"""Chat templates as transformers runs them, and stricter: they come with a model from anywhere, so they are code of a stranger.

The environment is transformers' own (utils/chat_template_utils.py): trim_blocks, lstrip_blocks, loop controls, the generation tag,
its tojson, raise_exception, strftime_now, and a namespace and a dict that lead nowhere. What it writes is the same, to the letter.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, nodes, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from worker.rows.errors import RuleFailed
from worker.rows.limits import TemplateTooSlow, limit_rendering, need_main_thread

TEXT_LIMIT = 16 * 1024**2  # characters; the longest row that is read has 4 million
REPEATS_LIMIT = 1024**2  # characters or items that one multiplication may make
GENERATION_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")


class TextTooLong(Exception):
    """The template writes without end."""


class Generated:
    """Where the text between generation tags came to stand."""

    def __init__(self) -> None:
        self.written = 0
        self.spans: list[tuple[int, int]] = []


class GenerationTag(Extension):
    """{% generation %} … {% endgeneration %}: what stands between them, said to whoever follows."""

    tags = {"generation"}
    following: Generated | None = None

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_tell"), [], [], body).set_lineno(line)

    @pass_eval_context
    def _tell(self, context: nodes.EvalContext, caller: Callable[[], str]) -> str:
        text = caller()
        if self.following is not None:
            start = self.following.written
            self.following.spans.append((start, start + len(text)))
        return text


class Environment(ImmutableSandboxedEnvironment):
    """Products are looked at before they are made: one of them cannot be interrupted."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not (abs(left) < 10**9 and abs(right) < 64):
            raise SecurityError("numbers this large")
        if operator == "*" and _made_by(left, right) > REPEATS_LIMIT:
            raise TextTooLong
        return super().call_binop(context, operator, left, right)


def _made_by(left: Any, right: Any) -> int:
    """Characters, items or, of two numbers, bits."""
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() + right.bit_length()
    many, times = (right, left) if isinstance(left, int) else (left, right)
    return len(many) * max(times, 0) if hasattr(many, "__len__") and isinstance(times, int) else 0


class EmptyDict:
    """dict(…) for templates, without the type behind it."""

    def __call__(self, *args: Any, **named: Any) -> dict[Any, Any]:
        return dict(*args, **named)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class PlainNamespace(Namespace):
    """A namespace that keeps no name with an underscore before it."""

    def __init__(*args: Any, **named: Any) -> None:  # as Jinja's own: `namespace(self=…)` has to work
        self, values = args[0], dict(*args[1:], **named)
        for name in values:
            _refuse_underscore(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        super().__setitem__(name, value)


def _refuse_underscore(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"the name {name} begins with an underscore")


def _raise_exception(message: object) -> None:
    raise TemplateError(str(message))


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


def _tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _join(parts: Iterable[str]) -> str:
    kept, length = [], 0
    for part in parts:
        kept.append(part)
        length += len(part)
        if length > TEXT_LIMIT:
            raise TextTooLong
    return "".join(kept)


@lru_cache(maxsize=32)
def _compile(source: str) -> Template:
    environment = Environment(  # optimized: Jinja would work out constants while it reads, and make their 2 GB then
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols], optimized=False
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "dict": EmptyDict(),
        "namespace": PlainNamespace,
    }
    environment.concat = _join  # type: ignore[method-assign]
    try:
        return environment.from_string(source)
    except (TemplateError, RecursionError) as error:
        raise RuleFailed(f"the chat template cannot be read: {_first_line(error)}") from error


def write(source: str, *, variables: Mapping[str, Any], generated: Generated | None = None) -> str:
    """The text; `generated` learns what stands between generation tags. Raises RuleFailed with what is wrong."""
    need_main_thread()
    try:
        with limit_rendering():
            template = _compile(source)
            return template.render(variables) if generated is None else _follow(template, variables, generated)
    except RuleFailed:
        raise
    except TemplateTooSlow as error:
        raise RuleFailed(f"the chat template does not come to an end: it was stopped after {error} s on one row") from error
    except (TextTooLong, MemoryError) as error:
        raise RuleFailed(
            "the chat template writes more than 16 million characters for one row, or takes too much memory"
        ) from error
    except SecurityError as error:
        raise RuleFailed(f"the chat template does what templates may not do: {_first_line(error)}") from error
    except Exception as error:  # a template is code: it can fail in any way
        raise RuleFailed(f"the chat template does not accept the row: {_first_line(error)}") from error


def _follow(template: Template, variables: Mapping[str, Any], generated: Generated) -> str:
    tag: GenerationTag = template.environment.extensions[GenerationTag.identifier]  # type: ignore[assignment]
    tag.following = generated
    parts = []
    try:
        for part in template.generate(variables):
            parts.append(part)
            generated.written += len(part)
            if generated.written > TEXT_LIMIT:
                raise TextTooLong
    finally:
        tag.following = None
    return "".join(parts)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
