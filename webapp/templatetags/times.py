"""Moments, rendered in UTC and turned by static/js/page.js into the reader's zone."""

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


def _time(moment: datetime | str | None, *, marked: str, empty: str) -> SafeString:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment is None:
        return format_html("{}", empty)
    moment = moment.astimezone(UTC)
    read = f"{moment:%Y-%m-%d %H:%M} UTC"
    return format_html('<time datetime="{}" data-{}>{}</time>', moment.isoformat(timespec="milliseconds"), marked, read)


@register.simple_tag
def ago(moment: datetime | str | None, empty: str = "never") -> SafeString:
    """3 minutes ago; kept current."""
    return _time(moment, marked="age", empty=empty)


@register.simple_tag
def when(moment: datetime | str | None, empty: str = "–") -> SafeString:
    """22 Nov 2026, 11:04."""
    return _time(moment, marked="local", empty=empty)


@register.simple_tag
def clock(moment: datetime | str | None, empty: str = "–") -> SafeString:
    """11:04:31 today, with the day before it otherwise."""
    return _time(moment, marked="clock", empty=empty)


@register.simple_tag
def hour(moment: datetime | str | None, empty: str = "–") -> SafeString:
    """14:20 today, with the day before it otherwise: for what is expected."""
    return _time(moment, marked="hour", empty=empty)
