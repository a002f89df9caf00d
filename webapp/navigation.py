"""What the side bar shows to whom: only pages that exist."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest


@dataclass(frozen=True)
class Entry:
    label: str
    url_name: str
    icon: str


PAGES = (
    Entry("Overview", "overview", "gauge"),
    Entry("Jobs", "job-list", "rocket"),
    Entry("Datasets", "dataset-list", "database"),
    Entry("Models", "model-list", "boxes"),
    Entry("Adapters", "adapter-list", "puzzle"),
)
ADMIN_PAGES = (
    Entry("Pools & workers", "pool-list", "server"),
    Entry("Users & teams", "user-list", "users"),
)


def navigation(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    is_admin = bool(user and user.is_authenticated and user.is_admin)
    return {"pages": PAGES, "admin_pages": ADMIN_PAGES if is_admin else ()}
