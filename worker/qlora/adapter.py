"""The result: a flat folder that PEFT or transformers loads, with card, settings and checksums. Complete or absent."""

import json
import shutil
from pathlib import Path
from typing import Any

from worker.contract.events import PlanMade, Results
from worker.contract.orders import WorkOrder
from worker.contract.quantization import Unquantized
from worker.qlora.failures import Diverged
from worker.qlora.files import publish_folder, removed_on_failure, sha256_of
from worker.qlora.model_card import write_card
from worker.qlora.trained import is_finite
from worker.qlora.whole_model import write_model

CHECKSUMS = "checksums.txt"


def save_adapter(folder: Path, *, model: Any, tokenizer: Any, order: WorkOrder, plan: PlanMade, results: Results) -> None:
    if not is_finite(model):
        raise Diverged("a trained weight is not a finite number", step=results.steps)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    with removed_on_failure(part):
        write_result(part, model=model, order=order)
        tokenizer.save_pretrained(part)
        (part / "training_spec.json").write_text(order.spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (part / "README.md").write_text(write_card(order, plan=plan, results=results), encoding="utf-8")
        _write_checksums(part)
        publish_folder(part, final=folder)


def write_result(part: Path, *, model: Any, order: WorkOrder) -> None:
    quantization = order.spec.quantization
    if order.spec.is_full and isinstance(quantization, Unquantized):
        write_model(part, model=model, dtype=quantization.dtype)
    else:
        write_weights(part, model=model, order=order)


def write_weights(part: Path, *, model: Any, order: WorkOrder) -> None:
    """What is trained, as it is. save_embedding_layers=False: by itself PEFT asks the Hub whether the vocabulary grew."""
    if order.spec.is_full:
        write_model(part, model=model)
        return
    model.save_pretrained(part, safe_serialization=True, save_embedding_layers=False)
    path = part / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_model_name(order)
    config["revision"] = order.spec.base_model.revision
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def base_model_name(order: WorkOrder) -> str:
    """The Hub's name, or the last part of a folder's path: where it lies on the worker helps no one who downloads."""
    base = order.spec.base_model
    return Path(base.name_or_path).name if base.kind == "folder" else base.name_or_path


def _write_checksums(folder: Path) -> None:
    lines = [f"{sha256_of(path)}  {path.name}\n" for path in sorted(folder.iterdir()) if path.is_file()]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")
