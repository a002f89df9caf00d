"""Whole addresses to hand to people: NIBBLE_PUBLIC_URL if it is set, else the address that this request came by."""

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse


def public_url(request: HttpRequest, url_name: str, *args: object) -> str:
    path = reverse(url_name, args=args)
    return settings.PUBLIC_URL.rstrip("/") + path if settings.PUBLIC_URL else request.build_absolute_uri(path)
