"""Reads of adapters: those that a user may see."""

from django.db.models import QuerySet

from webapp.accounts.models import User
from webapp.accounts.permissions import visible_to
from webapp.adapters.models import Adapter
from webapp.catalog.models import Source
from worker.contract.events import Results
from worker.contract.orders import ArtifactFile


def adapters_of(user: User) -> QuerySet[Adapter]:
    adapters = Adapter.objects.select_related("job__base_model", "job__dataset_version__dataset", "owner")
    return visible_to(user, adapters).order_by("-created_at")


def files_of(adapter: Adapter) -> tuple[ArtifactFile, ...]:
    return tuple(ArtifactFile.model_validate(file) for file in adapter.files)


def results_of(adapter: Adapter) -> Results:
    return Results.model_validate(adapter.results)


def loading_snippet(adapter: Adapter, *, folder: str) -> str:
    """Python that loads the adapter over the base model it was trained on."""
    base, spec = adapter.job.base_model, adapter.job.spec
    revision = f", revision={base.revision!r}" if base.source == Source.HUB and base.revision else ""
    is_quantised = spec.get("quantization", {}).get("load_in_4bit", True)
    return "\n".join(
        [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f"base = {base.name_or_path!r}",
            *(["# trained over 4 bits; works over the whole base too"] if is_quantised else []),
            f'model = AutoModelForCausalLM.from_pretrained(base{revision}, dtype="auto")',
            f"adapter = {folder!r}  # where you unpacked the zip",
            "model = PeftModel.from_pretrained(model, adapter)",
            "tokenizer = AutoTokenizer.from_pretrained(adapter)",
        ]
    )
