"""Every refusal of the API: {"error": {"code", "message", "param"}} with the status that fits it."""

from typing import Any

from django.core.exceptions import ObjectDoesNotExist, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from webapp.datasets.errors import DatasetRefusal
from webapp.datasets.fetch_forms import FORMS
from webapp.jobs.services import JobRefused
from webapp.jobs.spec_fields import GROUPS

TAGS = {str(model.model_fields["kind"].default) for group in GROUPS for model in group.models if "kind" in model.model_fields}
TAGS |= set(FORMS)
"""pydantic names the chosen kind of a block in the path of an error; no field is called so."""
CODES = {
    400: "bad_request",
    401: "not_signed_in",
    403: "forbidden",
    404: "not_found",
    405: "wrong_method",
    409: "conflict",
    413: "too_large",
}
SIGN_IN = "Sign in first: this address answers to the session cookie of the dashboard."


class ApiRefusal(Exception):
    def __init__(self, message: str, *, status: int, code: str = "", param: str = "") -> None:
        super().__init__(message)
        self.message, self.status, self.param = message, status, param
        self.code = code or CODES[status]


def refused(refusal: ApiRefusal) -> HttpResponse:
    error = {"code": refusal.code, "message": refusal.message, "param": refusal.param or None}
    return JsonResponse({"error": error}, status=refusal.status)


def not_found() -> HttpResponse:
    return refused(ApiRefusal("There is nothing at this address, or it is not yours to see.", status=404))


def field_path(loc: tuple[Any, ...]) -> str:
    """`("body", "job", "lora", "target_modules", "tuple[str, ...]")` -> `lora.target_modules`."""
    parts: list[str] = []
    for part in loc[2:] if loc and loc[0] == "body" else loc[1:]:
        if not isinstance(part, int) and ("[" in str(part) or "(" in str(part)):
            break
        parts.append(str(part))
    return ".".join(part for part in parts if part not in TAGS)


def contract_error(errors: list[dict[str, Any]]) -> ApiRefusal:
    """The first of them, by the name of its field; how many more there are."""
    first, more = errors[0], len(errors) - 1
    message = str(first["msg"]).removeprefix("Value error, ")
    if more:
        message += f" ({more} more {'problem' if more == 1 else 'problems'})"
    return ApiRefusal(message, status=422, code="invalid", param=field_path(tuple(first["loc"])))


def install(api: NinjaAPI) -> None:
    """One handler an error; whatever has none is a bug and answers 500."""
    handle = api.exception_handler
    handle(ApiRefusal)(lambda _, refusal: refused(refusal))
    handle(JobRefused)(lambda _, refusal: refused(job_refusal(refusal)))
    handle(DatasetRefusal)(lambda _, refusal: refused(dataset_refusal(refusal)))
    handle(ValidationError)(lambda _, error: refused(contract_error(error.errors)))
    handle(AuthenticationError)(lambda _, __: refused(ApiRefusal(SIGN_IN, status=401)))
    handle(HttpError)(http_error)
    handle(Http404)(lambda _, __: not_found())
    handle(ObjectDoesNotExist)(lambda _, __: not_found())
    handle(RequestDataTooBig)(lambda _, __: refused(ApiRefusal("The body is larger than 2.5 MB.", status=413)))


def job_refusal(refusal: JobRefused) -> ApiRefusal:
    """What the user may not do is 403, what the job's state forbids 409, a wrong wish 422."""
    status = {"forbidden": 403, "conflict": 409}.get(refusal.code, 422)
    return ApiRefusal(str(refusal), status=status, code=refusal.code, param=refusal.field)


def dataset_refusal(refusal: DatasetRefusal) -> ApiRefusal:
    return ApiRefusal(str(refusal), status=refusal.status, code=CODES.get(refusal.status, "refused"), param=refusal.field)


def http_error(_request: HttpRequest, error: HttpError) -> HttpResponse:
    if error.status_code == 403:
        return refused(
            ApiRefusal("The CSRF token is missing or wrong: send the cookie's value as X-CSRFToken.", status=403, code="csrf")
        )
    code = CODES.get(error.status_code, "bad_request")
    return refused(ApiRefusal(error.message, status=error.status_code, code=code))
