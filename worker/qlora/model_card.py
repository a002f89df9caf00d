"""README.md of an adapter or a fine-tuned model: what it was made from and how, what came out, and how to load it."""

from pathlib import Path

from pydantic import BaseModel

from worker.contract.events import PlanMade, Results
from worker.contract.orders import WorkOrder

WHOLE_LICENCE_NOTE = "It is a changed copy of a model that has a licence of its own; that licence holds for it too."
LICENCE_NOTE = "The adapter changes a base model that has a licence of its own; that licence holds for the two together."

TRAINED_BY = {
    "dpo": "It was trained with DPO to prefer one kind of answer to another.",
    "orpo": "It was trained with ORPO to write the preferred answers and not the others.",
    "kto": "It was trained with KTO on answers that were marked good or bad.",
    "reward": "It is a scorer: it does not write, it scores answers as its training pairs rank them, a higher number for a better one. "
    "The score head lies beside the adapter, in the same file.",
}


def write_card(order: WorkOrder, *, plan: PlanMade, results: Results) -> str:
    base, is_full = order.spec.base_model, order.spec.is_full
    name = Path(base.name_or_path).name if base.kind == "folder" else base.name_or_path
    revision = f" at revision `{base.revision}`" if base.revision else ""
    return "\n".join(
        [
            *_front_matter(name, is_full=is_full, is_scorer=order.spec.objective.kind == "reward"),
            f"# {_one_line(order.job_name)}",
            "",
            f"**{name}**{revision}, every weight fine-tuned."
            if is_full
            else f"A {order.spec.method} adapter for **{name}**{revision}.",
            *([TRAINED_BY[order.spec.objective.kind]] if order.spec.objective.kind in TRAINED_BY else []),
            WHOLE_LICENCE_NOTE if is_full else LICENCE_NOTE,
            "",
            *_section("Data", _data_rows(order, plan=plan)),
            *_section("Results", _result_rows(results)),
            *_section("Settings", _setting_rows(order)),
            *_section("Made with", [(library, version) for library, version in plan.versions.items()]),
            "## Load it",
            "",
            "```python",
            snippet_of(order, name=name),
            "```",
            "",
            "`sha256sum -c checksums.txt` in this folder checks the files.",
            "",
        ]
    )


def snippet_of(order: WorkOrder, *, name: str) -> str:
    is_full, is_scorer = order.spec.is_full, order.spec.objective.kind == "reward"
    if is_full:
        return WHOLE_SNIPPET.replace("AutoModelForCausalLM", "AutoModelForSequenceClassification") if is_scorer else WHOLE_SNIPPET
    return _scorer_snippet(name) if is_scorer else _snippet(name)


def _front_matter(base: str, *, is_full: bool, is_scorer: bool) -> list[str]:
    task = f"pipeline_tag: text-{'classification' if is_scorer else 'generation'}"
    if is_full:
        return ["---", f'base_model: "{base}"', "library_name: transformers", task, "---", ""]
    tags = "[lora, reward-model]" if is_scorer else "[lora]"
    return ["---", f'base_model: "{base}"', "library_name: peft", task, f"tags: {tags}", "---", ""]


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
    best = f"{_number(results.eval_loss)} at step {results.best_step}, the lowest: its weights are these"
    memory = "GPU memory allocated" if results.peak_memory_of == "cuda_allocated" else "resident memory of the process"
    rows = [
        ("Steps", f"{results.steps} ({results.epochs:.2f} epochs)"),
        ("Loss", f"{_number(results.first_loss)} at first, {_number(results.final_loss)} at last"),
        ("Eval loss", best if results.best_step is not None else _number(results.eval_loss)),
        ("Time", f"{results.train_seconds:.0f} s of training"),
        ("Tokens seen", str(results.tokens_seen)),
        ("Peak memory", f"{results.peak_memory_bytes / 2**30:.2f} GiB ({memory})"),
    ]
    return [(name, value) for name, value in rows if value != "-"]


def _setting_rows(order: WorkOrder) -> list[tuple[str, str]]:
    spec = order.spec
    adapter: list[BaseModel] = [] if spec.is_full else [spec.lora]
    blocks: list[BaseModel] = [spec.objective, spec.quantization, *adapter, spec.optimizer, spec.training, spec.data]
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


def _scorer_snippet(base: str) -> str:
    return f'''from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
base = AutoModelForSequenceClassification.from_pretrained("{base}", num_labels=1, dtype="auto")
base.config.pad_token_id = tokenizer.pad_token_id
model = PeftModel.from_pretrained(base, "path/to/this/folder").eval()

chat = [{{"role": "user", "content": "…"}}, {{"role": "assistant", "content": "…"}}]
score = model(**tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)).logits.item()'''


WHOLE_SNIPPET = """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/to/this/folder", dtype="auto")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")"""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "Adapter"


def _cell(value: str) -> str:
    return _one_line(value).replace("|", "\\|")
