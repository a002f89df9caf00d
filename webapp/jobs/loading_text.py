"""How to use what a job made, as Python to copy. Pure."""

from worker.contract.spec import FinetuneSpec


def loading_snippet(spec: FinetuneSpec) -> str:
    """How to use what was downloaded, once its zip is unpacked into ./adapter (./model after full fine-tuning)."""
    return SCORING[spec.is_full].format(**_named(spec)) if spec.objective.kind == "reward" else _writing(spec)


def _named(spec: FinetuneSpec) -> dict[str, str]:
    revision = spec.base_model.revision
    return {"base": repr(spec.base_model.name_or_path), "pinned": f", revision={revision!r}" if revision else ""}


def _writing(spec: FinetuneSpec) -> str:
    return LOADING[spec.is_full].format(**_named(spec)) + ANSWERING


LOADING = {
    False: """from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({base}{pinned}, dtype="auto", device_map="auto")
model = PeftModel.from_pretrained(base, "adapter")
tokenizer = AutoTokenizer.from_pretrained("adapter")
""",
    True: """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("model", dtype="auto", device_map="auto")
tokenizer = AutoTokenizer.from_pretrained("model")
""",
}
ANSWERING = """
chat = [{"role": "user", "content": "Hello!"}]
inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
reply = model.generate(**inputs.to(model.device), max_new_tokens=100)
print(tokenizer.decode(reply[0][inputs["input_ids"].shape[1]:], skip_special_tokens=True))"""
SCORES = """
chat = [{{"role": "user", "content": "Hello!"}}, {{"role": "assistant", "content": "Hello, what can I do for you?"}}]
inputs = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
print(model(**inputs.to(model.device)).logits.item())"""
SCORING = {
    False: """from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

base = AutoModelForSequenceClassification.from_pretrained({base}{pinned}, num_labels=1, dtype="auto", device_map="auto")
model = PeftModel.from_pretrained(base, "adapter")
tokenizer = AutoTokenizer.from_pretrained("adapter")
"""
    + SCORES,
    True: """from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained("model", num_labels=1, dtype="auto", device_map="auto")
tokenizer = AutoTokenizer.from_pretrained("model")
"""
    + SCORES,
}
