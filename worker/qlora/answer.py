"""`python -m worker.qlora.answer MODEL_DIR [ADAPTER_DIR] --prompt TEXT` prints one answer, with or without the adapter.

Greedy, so that two calls with the same files say the same.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

MAX_NEW_TOKENS = 60


def main(arguments: list[str]) -> int:
    asked = parse_arguments(arguments)
    for folder in (asked.model, asked.adapter):
        if folder is not None and not folder.is_dir():
            sys.stderr.write(f"{folder} is not a folder.\n")
            return 2
    os.environ.update({"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"})
    sys.stdout.write(answer(asked.model, adapter=asked.adapter, prompt=asked.prompt, max_new_tokens=asked.max_new_tokens) + "\n")
    return 0


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.qlora.answer", description="Prints one answer of a model.")
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("adapter", type=Path, metavar="ADAPTER_DIR", nargs="?", help="a PEFT adapter for it")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--max-new-tokens", type=int, default=MAX_NEW_TOKENS)
    return parser.parse_args(arguments)


def answer(model_dir: Path, *, adapter: Path | None, prompt: str, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
    from worker.qlora.quiet import quieten_libraries

    quieten_libraries()
    import torch

    tokenizer, model = load(model_dir, adapter=adapter)
    ids = encode(tokenizer, prompt=prompt).to(model.device)
    with torch.inference_mode():
        output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False)
    return str(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)).strip()


def load(model_dir: Path, *, adapter: Path | None) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(model_dir, local_files_only=True, use_safetensors=True, dtype="auto")
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def encode(tokenizer: Any, *, prompt: str) -> Any:
    """As a user's message where the model has a chat template, else as plain text to go on from."""
    if not tokenizer.chat_template:
        return tokenizer(prompt, return_tensors="pt")["input_ids"]
    messages = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
