"""How a state looks: {{ job.status|tone }} for its chip."""

from django import template

register = template.Library()

TONES = {
    "draft": "",
    "queued": "info",
    "starting": "accent lively",
    "running": "good lively",
    "pausing": "warn lively",
    "paused": "warn",
    "stopping": "warn lively",
    "succeeded": "good",
    "failed": "bad",
    "cancelled": "",
}


@register.filter
def tone(status: str) -> str:
    return TONES.get(status, "")
