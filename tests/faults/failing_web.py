"""The dashboard with a failpoint: where the file FAILPOINT exists, its process ends at once between an adapter's files and its row."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

django.setup()

from webapp.adapters import services  # noqa: E402
from webapp.asgi import application as application  # noqa: E402

FAILPOINT = Path(os.environ["NIBBLE_DATA"]) / "failpoint"


def dying_after(place: Callable[..., None]) -> Callable[..., None]:
    def placed(*arguments: Any, **options: Any) -> None:
        place(*arguments, **options)
        if FAILPOINT.exists():
            FAILPOINT.unlink()
            os._exit(137)

    return placed


services.place = dying_after(services.place)  # type: ignore[attr-defined]
