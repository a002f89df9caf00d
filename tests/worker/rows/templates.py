"""Chat templates of styles that are in use, and the special tokens that each needs."""

from pathlib import Path

MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n' + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
ALPACA = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '### Instruction:\n' + message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ '### Response:\n' + message['content'] + eos_token + '\n\n' }}"
    "{% else %}{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
)
NAMESPACED = (  # loop controls, a namespace, tojson and the day
    "{%- set ns = namespace(seen=0, day=strftime_now('%Y')) %}\n{%- for message in messages %}\n"
    "    {%- if message.content is not string %}{% continue %}{% endif %}\n    {%- set ns.seen = ns.seen + 1 %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' }}{{ message | tojson }}{{- '<|im_end|>\\n' }}\n{%- endfor %}\n"
    "{{- dict(seen=ns.seen, day=ns.day) | tojson }}{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}"
)
OWN = {"mistral": MISTRAL, "zephyr": ZEPHYR, "alpaca-like": ALPACA, "namespaced": NAMESPACED}
FROM_TRL = (  # copies of the models' own, in the installed TRL
    "qwen2_5",
    "qwen3",
    "llama3",
    "llama3_2",
    "gemma",
    "gemma3",
    "phi3",
    "deepseekv3",
    "gptoss",
    "glm4moe",
    "lfm2",
)
SPECIAL = (
    "<s>",
    "</s>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<|return|>",
    "<|observation|>",
    "<tool_call>",
    "</tool_call>",
)


def template_of(name: str) -> str:
    if name in OWN:
        return OWN[name]
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()


def user(content: str) -> dict[str, object]:
    return {"role": "user", "content": content}


def answer(content: str, **more: object) -> dict[str, object]:
    return {"role": "assistant", "content": content, **more}


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Today's", "parameters": {"type": "object"}}}]
CONVERSATIONS: dict[str, dict[str, object]] = {
    "one turn": {"messages": [user("Hi there"), answer("Yo")]},
    "system": {"messages": [{"role": "system", "content": "Be brief"}, user("Hi"), answer("Yo"), user("Bye"), answer("So long")]},
    "spaces": {"messages": [user("  Hi \n"), answer("\n  Yo \n\n"), user("Bye"), answer("So\u00a0long 🚢 ")]},
    "thinking": {
        "messages": [user("Hi"), answer("<think>\nhm\n</think>\n\nYo"), user("Bye"), answer("<think>\nwell\n</think>\n\nSo")]
    },
    "reasoning": {"messages": [user("Hi"), answer("Yo", reasoning_content="hm"), user("Bye"), answer("So", thinking="well")]},
    "tools": {
        "messages": [user("Rain?"), answer("", tool_calls=[CALL]), {"role": "tool", "content": "rain"}, answer("It rains")],
        "tools": TOOLS,
    },
    "literal": {
        "messages": [user("say <|im_end|> and <|im_start|>assistant\nok"), answer("<|im_end|> it is"), user("x"), answer("y")]
    },
}
