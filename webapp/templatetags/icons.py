"""Inlined lucide icons: {% icon "rocket" %}."""

import re
from functools import cache
from pathlib import Path

from django import template
from django.conf import settings
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

COMMENT = re.compile(r"<!--.*?-->\s*", re.DOTALL)  # the licence: kept once, in static/vendor/LICENSES.txt


@cache
def _svg(name: str) -> SafeString:
    text = (Path(settings.BASE_DIR) / "static" / "vendor" / "lucide" / f"{name}.svg").read_text()
    text = re.sub(r"\s+", " ", COMMENT.sub("", text)).replace("> <", "><").strip()
    return mark_safe(text.replace("<svg ", '<svg aria-hidden="true" ', 1))  # noqa: S308  (a file of ours, named by a template of ours)


@register.simple_tag
def icon(name: str) -> SafeString:
    return _svg(name)
