"""The row shapes that are accepted, as samples to copy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    name: str
    use: str
    line: str


SAMPLES = (
    Sample(
        "Chat messages",
        "Conversations, as OpenAI's API writes them. Trained on what the assistant says.",
        '{"messages": [{"role": "system", "content": "You answer in one sentence."}, '
        '{"role": "user", "content": "What is a nibble?"}, {"role": "assistant", "content": "Half a byte: four bits."}]}',
    ),
    Sample(
        "Instructions (Alpaca)",
        "A question in one field or two, and its answer. Becomes a chat; system and history may stand beside it.",
        '{"instruction": "Translate to French.", "input": "good morning", "output": "bonjour"}',
    ),
    Sample(
        "ShareGPT conversations",
        "Turns with from and value, from human and gpt. Becomes a chat.",
        '{"conversations": [{"from": "human", "value": "What is a nibble?"}, {"from": "gpt", "value": "Half a byte: four bits."}]}',
    ),
    Sample(
        "Prompt and completion",
        "One question, one answer. Trained on the completion.",
        '{"prompt": "Translate to French: good morning", "completion": "bonjour"}',
    ),
    Sample(
        "Plain text",
        "Articles, code, notes. Every token is trained on.",
        '{"text": "A nibble is four bits: one hexadecimal digit."}',
    ),
    Sample(
        "Preference pairs",
        "One question, a better and a worse answer, as texts or as lists of messages. For DPO, ORPO, KTO and reward modelling.",
        '{"prompt": [{"role": "user", "content": "What is a nibble?"}], '
        '"chosen": [{"role": "assistant", "content": "Four bits."}], '
        '"rejected": [{"role": "assistant", "content": "That is a long story, and it begins in 1958."}]}',
    ),
    Sample(
        "Answers marked good or bad",
        "One answer and whether it is a good one (label true) or a bad one (false). For KTO.",
        '{"prompt": "What is a nibble?", "completion": "Four bits.", "label": true}',
    ),
)
