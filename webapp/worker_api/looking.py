"""Which base models a worker is asked to look at."""

from webapp.catalog.models import BaseModel, Source
from webapp.catalog.selectors import LOOKED_AT_ONCE, models_to_look_at, models_without_tokenizer
from webapp.pools.models import Worker
from worker.contract.model_shape import BaseModelRef
from worker.contract.orders import InspectModel

SENDS_TOKENIZERS_SINCE = 4  # the protocol


def models_for(worker: Worker) -> tuple[InspectModel, ...]:
    """Those that nobody has looked at, and folders that nobody has found: this machine may have them, or have them by now."""
    if worker.state != Worker.State.ENABLED:
        return ()
    unfound = BaseModel.objects.filter(source=Source.FOLDER, state=BaseModel.State.BROKEN).order_by("pk")[:LOOKED_AT_ONCE]
    lacking = models_without_tokenizer(worker_id=worker.pk) if worker.protocol >= SENDS_TOKENIZERS_SINCE else []
    return tuple(_ask(model) for model in [*models_to_look_at(), *unfound, *lacking])


def _ask(model: BaseModel) -> InspectModel:
    reference = BaseModelRef(kind=model.source, name_or_path=model.name_or_path, revision=model.revision or None)
    return InspectModel(model_id=model.pk, base_model=reference, hub_token=model.hub_token or None)
