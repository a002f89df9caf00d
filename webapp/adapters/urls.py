"""Addresses of adapters."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
