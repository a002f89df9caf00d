"""The base model and its tokenizer, from a folder: safetensors only, no code of the model's own, no network."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from worker.contract.spec import FinetuneSpec
from worker.qlora.failures import RunFailed
from worker.qlora.kept_weights import KeptWeights, key_of
from worker.qlora.precision import Precision
from worker.qlora.quantization import keep_trainable_on_cpu, quantization_config
from worker.qlora.splitting import place_to_load

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TO_SAFETENSORS = (
    "Convert it once: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder) writes safetensors; "
    "pickled weights can run any code when they are read."
)


def check_model_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise RunFailed("model_unavailable", "The base model's folder is not there.", advice="Check the model on the Models page.")
    if not (folder / "config.json").is_file():
        raise RunFailed("model_unavailable", "The base model's folder has no config.json.", advice="Fetch the model again.")
    if any(folder.glob("*.safetensors")):
        return
    if any(match for pattern in PICKLED for match in folder.glob(pattern)):
        raise RunFailed("model_unavailable", "The base model has pickled weights only, no safetensors.", advice=TO_SAFETENSORS)
    raise RunFailed("model_unavailable", "The base model's folder has no *.safetensors file.", advice="Fetch the model again.")


def load_tokenizer(folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise RunFailed(
            "model_unavailable", f"The model's tokenizer cannot be read: {error}", advice="Fetch the model again."
        ) from error
    if tokenizer.pad_token is None:  # padding is masked everywhere, so any token serves
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise RunFailed("model_unavailable", "The model's tokenizer has neither a padding nor an end-of-text token.")
    if isinstance(tokenizer.chat_template, dict):  # named variants: chats use the default one
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    return tokenizer


def read_config(folder: Path) -> Any:
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _cannot_load(folder, error) from error


def _cannot_load(folder: Path, error: Exception) -> RunFailed:
    """transformers would advise trust_remote_code, which there is not."""
    brings_code = "auto_map" in (folder / "config.json").read_text(encoding="utf-8")
    if "trust_remote_code" in str(error) or (brings_code and not isinstance(error, OSError)):
        return RunFailed(
            "model_unavailable",
            "The base model needs Python code of its own (auto_map in its config.json). It is never run: it could do anything.",
            advice="Choose a model whose architecture transformers knows by itself. Many others also exist in a converted form, "
            "often with -hf in its name.",
        )
    advice = "Only architectures that transformers knows by itself can be trained; a model's own code is never run."
    return RunFailed("model_unavailable", f"The base model cannot be loaded: {error}", advice=advice)


def load_base_model(
    folder: Path, *, spec: FinetuneSpec, precision: Precision, kept: Path | None = None, say: Callable[[str], None] = print
) -> Any:
    """The base model, quantised while it loads if that was asked for, or read as an earlier run kept it in `kept`.

    A scorer is never read from there: its head is new, and what is kept is a model that writes.
    """
    options = loading_options(spec, precision=precision)
    if torch.cuda.is_available():
        options["device_map"] = {"": place_to_load(folder, spec=spec)}
    if kept is None or "quantization_config" not in options or spec.objective.kind == "reward":
        model = _load(folder, options, spec=spec)
    else:
        weights = KeptWeights(kept, model=folder, key=key_of(folder, revision=spec.base_model.revision, options=options), say=say)
        if (model := weights.read(options)) is None:
            model = _load(folder, options, spec=spec)
            weights.keep(model)
    keep_trainable_on_cpu(model)
    model.config.use_cache = False  # a cache is of no use in training, and hides that rows share a pass
    return model


def loading_options(spec: FinetuneSpec, *, precision: Precision) -> dict[str, Any]:
    options: dict[str, Any] = {"dtype": getattr(torch, precision.dtype)}
    if (quantization := quantization_config(spec.quantization, precision=precision)) is not None:
        options["quantization_config"] = quantization
    if torch.cuda.is_available():
        options["device_map"] = {"": torch.cuda.current_device()}
    return options


def _unsurprised_by_a_new_head(spec: FinetuneSpec) -> AbstractContextManager[None]:
    """transformers would print a table that the score head is missing and the output head too many."""
    if spec.objective.kind != "reward":
        return nullcontext()
    from trl.trainer.reward_trainer import suppress_seqcls_warning

    return suppress_seqcls_warning()  # type: ignore[no-any-return]


def _load(folder: Path, options: dict[str, Any], *, spec: FinetuneSpec) -> Any:
    kind: Any = AutoModelForCausalLM
    if spec.objective.kind == "reward":
        kind, options = AutoModelForSequenceClassification, {**options, "num_labels": 1}
        torch.manual_seed(spec.training.seed)  # the score head is new
    try:
        with _unsurprised_by_a_new_head(spec):
            return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, **options)
    except (SafetensorError, OSError) as error:
        advice = "Fetch the model again: a file of it is damaged or missing."
        raise RunFailed("model_unavailable", f"The base model's weights cannot be read: {error}", advice=advice) from error
    except (ValueError, KeyError) as error:
        raise _cannot_load(folder, error) from error
