"""Inlined lucide icons: {% icon "rocket" %}."""

from functools import cache
from pathlib import Path

from django import template
from django.conf import settings
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@cache
def _svg(name: str) -> SafeString:
    path = Path(settings.BASE_DIR) / "static" / "vendor" / "lucide" / f"{name}.svg"
    return mark_safe(path.read_text())  # noqa: S308  (a file of ours, named by a template of ours)


@register.simple_tag
def icon(name: str) -> SafeString:
    return _svg(name)
