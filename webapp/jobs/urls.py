"""Addresses of worker_api."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
