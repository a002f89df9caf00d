"""Pages of the catalogue: what there is to start from; administrators add, re-check and remove."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from webapp.accounts.permissions import may_run_catalog, must_run_catalog
from webapp.accounts.requests import user_of
from webapp.catalog.forms import AddModelForm
from webapp.catalog.known import suggestions
from webapp.catalog.models import BaseModel
from webapp.catalog.selectors import all_models, jobs_on, shape_of
from webapp.catalog.services import ModelInUse, ModelNameTaken, add_model, look_again, remove_model


@require_safe
def model_list(request: HttpRequest) -> HttpResponse:
    models = list(all_models())
    waits = any(model.state == BaseModel.State.CHECKING for model in models)
    context = {"models": models, "waits": waits, "may_change": may_run_catalog(user_of(request))}
    return render(request, "catalog/_models.html" if request.headers.get("HX-Request") else "catalog/list.html", context)


@require_safe
def model_detail(request: HttpRequest, pk: int) -> HttpResponse:
    return _detail(request, get_object_or_404(all_models(), pk=pk))


def _detail(request: HttpRequest, model: BaseModel, *, error: str = "", status: int = 200) -> HttpResponse:
    user = user_of(request)
    context = {
        "model": model,
        "shape": shape_of(model),
        "jobs": jobs_on(model, user=user),
        "may_change": may_run_catalog(user),
        "waits": model.state == BaseModel.State.CHECKING,
        "error": error,
    }
    template = "catalog/_model.html" if request.headers.get("HX-Request") else "catalog/detail.html"
    return render(request, template, context, status=status)


@sensitive_post_parameters("hub_token")
@require_http_methods(["GET", "HEAD", "POST"])
@must_run_catalog
def model_add(request: HttpRequest) -> HttpResponse:
    form = AddModelForm(request.POST or None, initial={"name_or_path": request.GET.get("model", "")[:500]})
    if form.is_valid():
        try:
            model = add_model(**form.cleaned_data)
        except ModelNameTaken as refusal:
            form.add_error("name", str(refusal))
        else:
            messages.success(request, f"{model.name} is added. The next worker that is free to look reads its files.")
            return redirect("model-detail", pk=model.pk)
    context = {"form": form, "suggestions": suggestions()}
    return render(request, "catalog/add.html", context, status=422 if form.is_bound else 200)


@require_POST
@must_run_catalog
def model_check(request: HttpRequest, pk: int) -> HttpResponse:
    model = get_object_or_404(BaseModel, pk=pk)
    look_again(model)
    return redirect("model-detail", pk=model.pk)


@require_POST
@must_run_catalog
def model_remove(request: HttpRequest, pk: int) -> HttpResponse:
    model = get_object_or_404(all_models(), pk=pk)
    try:
        remove_model(model)
    except ModelInUse as refusal:
        return _detail(request, model, error=str(refusal), status=409)
    messages.success(request, f"{model.name} is removed.")
    return redirect("model-list")
