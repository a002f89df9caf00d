"""What a reader searched for, marked in the texts of rows; and a look into a mapping by a key that is not a name."""

import re
from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.filter
def marked(text: str, wanted: str) -> SafeString:
    """The text, escaped, with <mark> around each place that holds `wanted`."""
    if not wanted:
        return escape(text)
    parts = re.split(f"({re.escape(wanted)})", text, flags=re.IGNORECASE)
    pieces = (f"<mark>{escape(part)}</mark>" if place % 2 else escape(part) for place, part in enumerate(parts))
    return mark_safe("".join(pieces))  # noqa: S308  (every piece is escaped)


@register.filter
def holds(text: str, wanted: str) -> bool:
    return bool(wanted) and wanted.casefold() in text.casefold()


@register.filter
def of(values: Mapping[Any, Any], key: Any) -> Any:
    """`work|of:version.pk`."""
    return values.get(key)
