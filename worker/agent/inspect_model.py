"""Looks at one base model for the catalogue: its shape and licence, or one sentence about why it cannot be used."""

import logging
from pathlib import Path

from worker.agent.base_models import Run, example_folder, folder_named
from worker.agent.ends import AttemptFailed
from worker.agent.hub import cached_snapshot, look_at
from worker.agent.model_files import ModelFiles, ModelProblem, read_model_folder
from worker.agent.model_shapes import shape_of
from worker.agent.tokenizer_files import Send, send_tokenizer
from worker.contract.model_shape import ModelReport
from worker.contract.orders import InspectModel

logger = logging.getLogger(__name__)


def inspect_model(asked: InspectModel, *, data: Path, run: Run, send: Send) -> ModelReport:
    """The tokenizer goes ahead of the report that names its files. Raises DoorAway."""
    try:
        files, commit = _files_of(asked, data, run)
        report = ModelReport(shape=shape_of(files), revision=commit, licence=files.licence)
    except ModelProblem as problem:
        return ModelReport(problem=str(problem))
    except AttemptFailed as failure:
        return ModelReport(problem=f"{failure.message} {failure.advice}".strip())
    except Exception as error:  # the catalogue shows a sentence whatever was wrong with the files
        logger.exception("Looking at %s", asked.base_model.name_or_path)
        return ModelReport(problem=f"The worker could not look at it: {error!r}")
    tokenizer, why_none = send_tokenizer(files.folder, send=send)
    return report.model_copy(update={"tokenizer": tokenizer, "tokenizer_problem": why_none})


def _files_of(asked: InspectModel, data: Path, run: Run) -> tuple[ModelFiles, str]:
    model = asked.base_model
    if model.kind == "example":
        return read_model_folder(example_folder(data, run=run, check=_go_on)), ""
    if model.kind == "folder":
        return read_model_folder(folder_named(model.name_or_path, data)), ""
    cached = cached_snapshot(model.name_or_path, revision=model.revision)
    if cached is not None:
        return read_model_folder(cached), str(model.revision)
    return look_at(model.name_or_path, revision=model.revision, token=asked.hub_token)


def _go_on() -> None:
    """Nothing interrupts a look."""
