"""/api/v1/datasets: what there is to train on, and uploads."""

from typing import TypeVar
from uuid import UUID

from django.forms import BaseForm
from django.http import HttpRequest
from ninja import File, Router, Status
from ninja import Form as FormField
from ninja.files import UploadedFile

from webapp.accounts.permissions import may_change, visible_to
from webapp.api.access import user_of
from webapp.api.errors import ApiRefusal
from webapp.api.fetch_shapes import FetchIn
from webapp.api.shapes import DatasetOut, Page
from webapp.datasets.fetch_forms import FORMS
from webapp.datasets.fetching import start_fetch
from webapp.datasets.forms import DatasetForm, VersionForm
from webapp.datasets.models import Dataset
from webapp.datasets.services import add_version, create_dataset

router = Router(tags=["datasets"])
AnyForm = TypeVar("AnyForm", bound=BaseForm)
Files = File[list[UploadedFile] | None]
Uploads = FormField[list[UUID] | None]


@router.get("", response=Page[DatasetOut])
def list_datasets(request: HttpRequest) -> Page[DatasetOut]:
    """By name, each with its versions, newest first. Jobs name a version."""
    user = user_of(request)
    rows = visible_to(user, Dataset.objects.select_related("owner").prefetch_related("versions")).order_by("name")
    return Page(data=[DatasetOut.of(dataset) for dataset in rows])


@router.post("", response={201: DatasetOut})
def upload_dataset(
    request: HttpRequest, file: Files = None, uploads: Uploads = None, name: FormField[str] = ""
) -> Status[DatasetOut]:
    """One or more files: in this request, or sent in pieces to /api/v1/uploads before. Small ones are checked at once; large ones are
    `checking` until their rows were read."""
    form, user = checked(DatasetForm(request.POST, request.FILES)), user_of(request)
    with form.arrived(user) as files:
        version = create_dataset(files, name=form.name_for(files), owner=user)
    return Status(201, read(request, version.dataset_id))


@router.post("/fetch", response={202: DatasetOut})
def fetch_dataset(request: HttpRequest, source: FetchIn) -> Status[DatasetOut]:
    """From the Hugging Face Hub, an https address or S3. Ask for the dataset until its version's `fetch` is null or has failed; the same
    name again takes up a fetch that failed. Keys are kept, encrypted, only until the fetch ends."""
    form = checked(FORMS[source.kind](source.model_dump()))
    version = start_fetch(form.source, secrets=form.secrets, name=form.cleaned_data["name"], owner=user_of(request))
    return Status(202, read(request, version.dataset_id))


@router.get("/{int:dataset_id}", response=DatasetOut)
def read_dataset(request: HttpRequest, dataset_id: int) -> DatasetOut:
    return read(request, dataset_id)


@router.post("/{int:dataset_id}/versions", response={201: DatasetOut})
def upload_version(request: HttpRequest, dataset_id: int, file: Files = None, uploads: Uploads = None) -> Status[DatasetOut]:
    """The dataset's next version. Versions never change; jobs go on with the one they name."""
    dataset, user = visible_dataset(request, dataset_id), user_of(request)
    if not may_change(user, dataset):
        raise ApiRefusal("Only the owner of a dataset and administrators may add a version.", status=403)
    form = checked(VersionForm(request.POST, request.FILES))
    with form.arrived(user) as files:
        add_version(dataset, files, by=user)
    return Status(201, read(request, dataset_id))


def checked(form: AnyForm) -> AnyForm:
    """Or the first wrong field of the same form that the page uses."""
    for field, errors in form.errors.items():
        raise ApiRefusal(str(errors[0]), status=422, code="invalid", param=field)
    return form


def visible_dataset(request: HttpRequest, dataset_id: int) -> Dataset:
    return visible_to(user_of(request), Dataset.objects.select_related("owner")).get(pk=dataset_id)


def read(request: HttpRequest, dataset_id: int) -> DatasetOut:
    return DatasetOut.of(visible_dataset(request, dataset_id))
