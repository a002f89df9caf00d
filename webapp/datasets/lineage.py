"""Where a version comes from, in words: the Versions tab says it of each."""

from dataclasses import dataclass

from django.db.models import Count

from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.working import Work, work_on_all


@dataclass(frozen=True)
class Told:
    """One version and its history."""

    version: DatasetVersion
    words: str
    parents: tuple[DatasetVersion, ...]
    used_by: int
    """Jobs and versions that need it."""
    work: Work | None


def history_of(dataset: Dataset) -> list[Told]:
    """The newest first."""
    told = dataset.versions.select_related("created_by").prefetch_related("parents__dataset").defer("report")
    versions = list(told.order_by("-number"))
    counted = Count("jobs", distinct=True) + Count("children", distinct=True)
    used_by = dict(dataset.versions.annotate(used_by=counted).values_list("pk", "used_by"))
    work = work_on_all(versions)
    return [_told(version, used_by=used_by.get(version.pk, 0), work=work.get(version.pk)) for version in versions]


def _told(version: DatasetVersion, *, used_by: int, work: Work | None) -> Told:
    parents = tuple(version.parents.all())
    return Told(version=version, words=in_words(version, parents=parents), parents=parents, used_by=used_by, work=work)


def in_words(version: DatasetVersion, *, parents: tuple[DatasetVersion, ...]) -> str:
    recipe = version.recipe
    of = " and ".join(name_of(parent, seen_from=version) for parent in parents) or "a deleted version"
    match version.origin:
        case DatasetVersion.Origin.CLEANED:
            return f"The good rows of {of}{', without duplicates' if recipe.get('drop_duplicates') else ''}{_left_out(recipe)}"
        case DatasetVersion.Origin.SPLIT:
            return f"{_amount(recipe)} of {of} held out as {recipe.get('name')}{_balanced(recipe)}, seed {recipe.get('seed')}"
        case DatasetVersion.Origin.SAMPLED:
            return f"{recipe.get('count'):,} rows of {of}, seed {recipe.get('seed')}"
        case DatasetVersion.Origin.MERGED:
            return f"{of[:1].upper()}{of[1:]} merged{', each row once' if recipe.get('drop_duplicates') else ''}{_left_out(recipe)}"
        case DatasetVersion.Origin.MAPPED:
            return f"{of[:1].upper()}{of[1:]} read with other columns"
        case DatasetVersion.Origin.FETCHED:
            return f"Fetched from {recipe.get('address', 'elsewhere')}"
        case _:
            return "Uploaded"


def name_of(version: DatasetVersion, *, seen_from: DatasetVersion) -> str:
    return (
        f"version {version.number}" if version.dataset_id == seen_from.dataset_id else f"{version.dataset.name} v{version.number}"
    )


def _amount(recipe: dict[str, object]) -> str:
    return f"{100 * float(str(recipe['share'])):g} %" if recipe.get("share") else f"{recipe.get('count'):,} rows"


def _balanced(recipe: dict[str, object]) -> str:
    return f", {recipe['stratify_by']} in balance" if recipe.get("stratify_by") else ""


def _left_out(recipe: dict[str, object]) -> str:
    count = recipe.get("left_out")
    return f"; {count:,} left out" if isinstance(count, int) and count else ""
