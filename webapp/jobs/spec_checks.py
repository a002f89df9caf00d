"""What a spec asks that its model or its rows cannot give: known before a worker sees it. Reads nothing but what it is handed."""

from collections.abc import Iterator

from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.refusals import JobRefused
from worker.contract.model_shape import ModelShape
from worker.contract.objective import why_not_learned
from worker.contract.sharing import why_not_shared
from worker.contract.spec import FinetuneSpec
from worker.contract.untrainable import why_not_trained


def refusals(spec: FinetuneSpec, *, model: BaseModel | None, version: DatasetVersion | None) -> Iterator[JobRefused]:
    """One for each field that is wrong; parts that are not chosen yet rule nothing out."""
    if version and version.format and (unfit := why_not_learned(spec.objective.kind, version.format, dataset=str(version))):
        yield JobRefused(f"{unfit.sentence} {unfit.advice}", field="dataset_version")
    if version and (split := spec.data.dataset_test_split) and split not in version.splits:
        has = ", ".join(f"{rows:,} {name}" for name, rows in version.splits.items()) or "no marked rows"
        yield JobRefused(f"{version} has no rows marked as {split}; it has {has}.", field="data.dataset_test_split")
    if untrainable := why_not_trained(spec):
        yield JobRefused(f"{untrainable.sentence} {untrainable.advice}", field=untrainable.path)
    if why_not := why_not_shared(spec, num_processes=spec.plan.num_processes):
        yield JobRefused(why_not, field="plan.num_processes")
    if model and model.shape:  # nobody has looked at the model otherwise
        yield from _shape_refusals(spec, ModelShape.model_validate(model.shape), name=model.name)


def _shape_refusals(spec: FinetuneSpec, shape: ModelShape, *, name: str) -> Iterator[JobRefused]:
    longest = shape.max_position_embeddings
    if spec.training.max_length > longest:
        yield JobRefused(f"{name} reads at most {longest:,} tokens.", field="training.max_length")
    asked = () if spec.is_full or isinstance(spec.lora.target_modules, str) else spec.lora.target_modules
    unknown = [module for module in asked if module.rsplit(".", 1)[-1] not in shape.linear_modules]
    if shape.linear_modules and unknown:
        have = ", ".join(sorted(shape.linear_modules))
        yield JobRefused(f"{name} has no layer named {', '.join(unknown)}. It has: {have}.", field="lora.target_modules")
