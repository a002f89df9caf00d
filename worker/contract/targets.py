"""Which of a model's linear layers get an adapter: what the shortcuts of `lora.target_modules` mean for the names that it has."""

from collections.abc import Sequence

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "query_key_value", "dense", "out_proj", "c_attn")
QUERIES_AND_VALUES = ("q_proj", "v_proj", "qkv_proj", "query_key_value", "c_attn")


def names_of(shortcut: str, *, found: Sequence[str]) -> tuple[str, ...]:
    """`found`: last parts of the names of the model's linear layers, without the output head. Empty: none of them is known."""
    if shortcut == "auto":
        return tuple(found)
    among = ATTENTION if shortcut == "attention" else QUERIES_AND_VALUES
    return tuple(name for name in found if name in among)
