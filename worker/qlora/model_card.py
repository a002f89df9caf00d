"""README.md of an adapter: what it was made from and how, what came out, and how to load it."""

from pathlib import Path

from pydantic import BaseModel

from worker.contract.events import PlanMade, Results
from worker.contract.orders import WorkOrder

LICENCE_NOTE = "The adapter changes a base model that has a licence of its own; that licence holds for the two together."


def write_card(order: WorkOrder, *, plan: PlanMade, results: Results) -> str:
    base = order.spec.base_model
    name = Path(base.name_or_path).name if base.kind == "folder" else base.name_or_path
    return "\n".join(
        [
            *_front_matter(name),
            f"# {_one_line(order.job_name)}",
            "",
            f"A {order.spec.method} adapter for **{name}**" + (f" at revision `{base.revision}`" if base.revision else "") + ".",
            LICENCE_NOTE,
            "",
            *_section("Data", _data_rows(order, plan=plan)),
            *_section("Results", _result_rows(results)),
            *_section("Settings", _setting_rows(order)),
            *_section("Made with", [(library, version) for library, version in plan.versions.items()]),
            "## Load it",
            "",
            "```python",
            _snippet(name),
            "```",
            "",
            "`sha256sum -c checksums.txt` in this folder checks the files.",
            "",
        ]
    )


def _front_matter(base: str) -> list[str]:
    return ["---", f'base_model: "{base}"', "library_name: peft", "pipeline_tag: text-generation", "tags: [lora]", "---", ""]


def _section(title: str, rows: list[tuple[str, str]]) -> list[str]:
    return [f"## {title}", "", "| | |", "| --- | --- |", *[f"| {name} | {_cell(value)} |" for name, value in rows], ""]


def _data_rows(order: WorkOrder, *, plan: PlanMade) -> list[tuple[str, str]]:
    return [
        ("Dataset", order.dataset_name),
        ("SHA-256", order.dataset.sha256),
        ("Rows trained on", f"{plan.train_rows}, and {plan.eval_rows} held out"),
        ("Tokens", f"{plan.train_tokens}, {plan.trained_tokens} of them with a loss"),
        ("Loss on", plan.mask),
        ("Rows cut at max_length", str(plan.cut_rows)),
    ]


def _result_rows(results: Results) -> list[tuple[str, str]]:
    memory = "GPU memory allocated" if results.peak_memory_of == "cuda_allocated" else "resident memory of the process"
    rows = [
        ("Steps", f"{results.steps} ({results.epochs:.2f} epochs)"),
        ("Loss", f"{_number(results.first_loss)} at first, {_number(results.final_loss)} at last"),
        ("Eval loss", _number(results.eval_loss)),
        ("Time", f"{results.train_seconds:.0f} s of training"),
        ("Tokens seen", str(results.tokens_seen)),
        ("Peak memory", f"{results.peak_memory_bytes / 2**30:.2f} GiB ({memory})"),
    ]
    return [(name, value) for name, value in rows if value != "-"]


def _setting_rows(order: WorkOrder) -> list[tuple[str, str]]:
    spec = order.spec
    blocks: list[BaseModel] = [spec.quantization, spec.lora, spec.optimizer, spec.training, spec.data]
    values = [item for block in blocks for item in block.model_dump(mode="json").items()]
    return [(f"`{name}`", _shown(value)) for name, value in values if name != "kind" and value is not None]


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _snippet(base: str) -> str:
    return f'''from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained("{base}", dtype="auto")
model = PeftModel.from_pretrained(base, "path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")'''


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "Adapter"


def _cell(value: str) -> str:
    return _one_line(value).replace("|", "\\|")
