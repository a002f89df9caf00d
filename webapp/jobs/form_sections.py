"""In which panel of the New job form a setting stands, and when it is asked for at all. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from webapp.jobs.choices import FULL
from webapp.jobs.spec_fields import SpecField, spec_fields


@dataclass(frozen=True)
class Needs:
    """A field is asked for while another control has one of these values, or (`is_except`) none of them."""

    control: str
    values: tuple[str, ...]
    is_except: bool = False

    def hold(self, values: Mapping[str, object]) -> bool:
        return (str(values.get(self.control, "")) in self.values) != self.is_except


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    about: str
    first: tuple[str, ...]
    """Not folded away, in this order: what most runs change."""
    folded: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    """Blocks whose other settings stand here, folded away: what the contract gains appears by itself."""


SECTIONS = (
    Section("objective", "", "", (), blocks=("objective",)),
    Section("place", "Where it runs", "", ("plan.num_processes",), blocks=("plan",)),
    Section(
        "training",
        "Training",
        "How long, how many rows at once, and how much of each.",
        (
            "training.num_train_epochs",
            "training.max_steps",
            "training.per_device_train_batch_size",
            "training.gradient_accumulation_steps",
            "training.max_length",
            "data.train_on",
            "data.chat_template",
        ),
        blocks=("training", "data"),
    ),
    Section(
        "lora",
        "Adapter",
        "LoRA trains two thin matrices beside each chosen layer; the layer itself stays as it is.",
        ("lora.r", "lora.lora_alpha", "lora.target_modules"),
        blocks=("lora",),
    ),
    Section(
        "optimizer",
        "Optimizer",
        "How far each step goes, and how that changes over the run.",
        ("optimizer.learning_rate", "optimizer.lr_scheduler_type"),
        blocks=("optimizer",),
    ),
    Section(
        "evaluation",
        "Evaluation",
        "Rows that are never trained on show whether it learns or only memorises.",
        ("data.eval_share", "data.dataset_test_split", "training.eval_steps"),
        ("training.load_best_model_at_end", "training.early_stopping_patience", "training.early_stopping_threshold"),
    ),
    Section(
        "precision",
        "Precision",
        "In how many bits the frozen weights are kept, and in which type is computed.",
        ("quantization.bnb_4bit_quant_type", "quantization.bnb_4bit_use_double_quant", "quantization.dtype"),
        ("quantization.bnb_4bit_compute_dtype", "training.bf16", "training.fp16"),
        blocks=("quantization",),
    ),
)
NEEDS = {
    "data.train_on": Needs("objective", ("sft",)),
    "plan.fsdp": Needs("plan.num_processes", ("", "1"), is_except=True),
    "training.early_stopping_threshold": Needs("training.early_stopping_patience", ("",), is_except=True),
}
SECTION_NEEDS = {"lora": Needs("method", (FULL,), is_except=True)}
CHOSEN_BY = {"objective": "objective", "quantization": "method"}
"""The control that chooses the kind of a block."""
DECIDING = {*CHOSEN_BY.values(), *(needs.control for needs in (*NEEDS.values(), *SECTION_NEEDS.values()))}


def needs_of(field: SpecField) -> Needs | None:
    return kinds_needed(field, field.of_kinds) or SECTION_NEEDS.get(field.group) or NEEDS.get(field.path)


def kinds_needed(field: SpecField, kinds: Iterable[str]) -> Needs | None:
    """Full fine-tuning is an unquantised base model too. None for no kinds: always."""
    values = tuple(value for kind in kinds for value in ((kind, FULL) if kind == "none" else (kind,)))
    return Needs(CHOSEN_BY[field.group], values) if values else None


def fields_of(section: Section) -> tuple[list[SpecField], list[SpecField]]:
    """(shown at once, folded away)"""
    known = {field.path: field for field in spec_fields()}
    placed = {path for each in SECTIONS for path in (*each.first, *each.folded)}
    others = [field for field in known.values() if field.group in section.blocks and field.path not in placed]
    first, folded = [known[path] for path in section.first], [known[path] for path in section.folded]
    return (first + others, folded) if section.name == "objective" else (first, folded + others)
