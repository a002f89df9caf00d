"""Addresses of the public API, under /api/v1/. Only signed-in users read its description, openapi.json."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import NinjaAPI

from webapp.api import dataset_rows, datasets, errors, jobs, steering, things
from webapp.api.access import SessionCookie
from webapp.datasets.views import tus

api = NinjaAPI(title="Nibble", version="1", auth=SessionCookie(), openapi_url=None, docs_url=None, urls_namespace="api")
api.add_router("/jobs", jobs.router)
api.add_router("/jobs", steering.router)
api.add_router("/datasets", datasets.router)
api.add_router("/datasets", dataset_rows.router)
api.add_router("", things.router)
errors.install(api)


@require_safe
def openapi(_request: HttpRequest) -> HttpResponse:
    return JsonResponse(api.get_openapi_schema(path_prefix="/api/v1/"))


@csrf_exempt
@login_not_required
def nothing_here(_request: HttpRequest) -> HttpResponse:
    return errors.not_found()


def answering_in_json(patterns: list[Any]) -> list[URLPattern | URLResolver]:
    """Strangers get the API's own 401 instead of a redirect to the sign-in page."""
    for pattern in patterns:
        pattern.callback.login_required = False
    return patterns


urlpatterns = [
    path("openapi.json", openapi, name="openapi"),
    path("uploads", tus.uploads, name="api-uploads"),
    path("uploads/<uuid:pk>", tus.upload, name="api-upload"),
    *answering_in_json(api.urls[0]),
    re_path(r"^.*$", nothing_here),
]
