"""What every knock has in common: a bearer token, a message of the contract, refusals as {"error": {code, message}}."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel, ValidationError

from webapp.pools.models import Worker
from webapp.secrets import token_hash

AnyMessage = TypeVar("AnyMessage", bound=BaseModel)
MAX_MESSAGE_BYTES = 8 * 2**20  # 500 log lines of 4 KiB, with room


class Refusal(Exception):
    """One per refusal: the status code, a short code for programs and the sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def bearer(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def worker_of(request: HttpRequest) -> Worker:
    """The worker whose token came along. A wrong and a revoked token get the same answer."""
    worker = Worker.objects.select_related("pool").filter(token_hash=token_hash(bearer(request))).first()
    if worker is None or worker.state == Worker.State.REVOKED:
        raise Refusal(
            401, "unknown_worker", "This worker token is wrong or was revoked. Join again with a new token from Pools & workers."
        )
    return worker


def read_message(request: HttpRequest, kind: type[AnyMessage]) -> AnyMessage:
    """The body as a message of the contract, or a 422 that names the field."""
    if int(request.headers.get("Content-Length") or 0) > MAX_MESSAGE_BYTES:
        raise Refusal(
            413, "too_large", f"The message is larger than {MAX_MESSAGE_BYTES // 2**20} MiB. Send fewer events at a time."
        )
    try:
        return kind.model_validate_json(request.read())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise Refusal(422, "bad_message", f"{kind.__name__}.{where}: {first['msg']} ({error.error_count()} problems)") from None


def door(method: str) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """A view of the door: no session, no CSRF, one method, refusals as JSON."""

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @csrf_exempt
        @login_not_required
        @wraps(view)
        def knocked(request: HttpRequest, **kwargs: object) -> HttpResponseBase:
            if request.method != method:
                return refused(Refusal(405, "wrong_method", f"Use {method} here."))
            try:
                return view(request, **kwargs)
            except Refusal as refusal:
                return refused(refusal)

        return knocked

    return decorate


def refused(refusal: Refusal) -> HttpResponse:
    return JsonResponse({"error": {"code": refusal.code, "message": refusal.message}}, status=refusal.status)


def message(body: BaseModel, *, status: int = 200, exclude: dict[str, Any] | None = None) -> HttpResponse:
    return HttpResponse(body.model_dump_json(exclude_none=True, exclude=exclude), content_type="application/json", status=status)
