"""The first of our apps to be loaded: it brings the checks of the installation."""

from importlib import import_module

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "webapp.accounts"

    def ready(self) -> None:
        import_module("webapp.checks")  # importing registers them
