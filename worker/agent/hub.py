"""Everything that asks the Hugging Face Hub: a snapshot for training, or only a model's metadata for the catalogue."""

import os
import re
from pathlib import Path

from worker.agent.model_files import ModelFiles, ModelProblem, Tensor, has_chat_template, licence_of, read_json, weight_files
from worker.contract.tokenizer_files import TOKENIZER_FILES

WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "README.md", "LICENSE*"]
UNWANTED = ["*.bin", "*.pth", "*.pt", "*.gguf", "*.onnx", "original/*", "onnx/*", "metal/*", "*/*.safetensors"]
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")
COMMIT = re.compile(r"[0-9a-f]{40}")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def snapshot(name: str, *, revision: str | None, token: str | None) -> Path:
    """The folder of the pinned revision: from the cache when it is whole there, else downloaded."""
    from huggingface_hub import HfApi, snapshot_download

    cached = cached_snapshot(name, revision=revision)
    if cached is not None:
        return cached
    try:
        commit = HfApi(token=token).model_info(name, revision=revision).sha  # says "gated" or "not there", which a download may not
        folder = Path(snapshot_download(name, revision=commit, token=token, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except Exception as error:  # httpx', the Hub's and the disk's errors: each means "not here", and says why
        raise _problem(name, error) from None
    weight_files(folder)
    return folder


def is_in_cache(name: str) -> bool:
    """Any revision of it, whoever fetched it."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return (Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")).is_dir()


def cached_snapshot(name: str, *, revision: str | None) -> Path | None:
    """Only for a pinned revision: "main" in the cache may be old. Whole by our own look, whoever downloaded it."""
    from huggingface_hub import try_to_load_from_cache

    if revision is None or not COMMIT.fullmatch(revision):
        return None
    try:
        config = try_to_load_from_cache(name, "config.json", revision=revision)
        if not isinstance(config, str):
            return None
        folder = Path(config).parent
        weight_files(folder)
    except (ModelProblem, OSError, ValueError):  # absent or torn: both mean that it has to be fetched
        return None
    return folder if any((folder / file).exists() for file in TOKENIZERS) else None


def look_at(name: str, *, revision: str | None, token: str | None) -> tuple[ModelFiles, str]:
    """A model's files without its weights (headers are a few hundred KB), and the commit that was looked at."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        info = api.model_info(name, revision=revision)
        commit = str(info.sha)
        names = {sibling.rfilename for sibling in info.siblings or ()}
        _require_safetensors(name, names)
        headers = api.get_safetensors_metadata(name, revision=commit)
        folder = _small_files(name, commit, names, token)
    except ModelProblem:
        raise
    except Exception as error:
        raise _problem(name, error) from None
    tensors = {
        key: Tensor(str(tensor.dtype), tuple(tensor.shape), tensor.data_offsets[1] - tensor.data_offsets[0])
        for file in headers.files_metadata.values()
        for key, tensor in file.tensors.items()
    }
    return ModelFiles(read_json(folder / "config.json"), tensors, has_chat_template(folder), licence_of(folder), folder), commit


def _small_files(name: str, commit: str, names: set[str], token: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    wanted = {*TOKENIZER_FILES, "README.md"} & names
    for file in sorted(wanted):
        hf_hub_download(name, file, revision=commit, token=token)
    return Path(hf_hub_download(name, "config.json", revision=commit, token=token)).parent


def _require_safetensors(name: str, names: set[str]) -> None:
    if not any(file.endswith(".safetensors") and "/" not in file for file in names):
        raise ModelProblem(
            f"{name} has no safetensors weights on the Hub. Choose a revision or a copy that has them; pickled weights can run code."
        )


def _problem(name: str, error: Exception) -> ModelProblem:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ModelProblem(f"{name} is gated: accept its licence on the Hub and give a token that may read it.")
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelProblem(f"{name} has no such revision on the Hub.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelProblem(f"{name} is not on the Hub, or it is private and the token may not read it.")
    if isinstance(error, errors.HFValidationError):
        return ModelProblem(f"{name} is no name of a model on the Hub. Names look like organisation/model.")
    if isinstance(error, OSError) and error.errno == 28:
        return ModelProblem(f"{name} does not fit on this worker's disk.")
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return ModelProblem(f"{name} could not be fetched from the Hub by this worker: {reason}")
