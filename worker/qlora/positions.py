"""Rows against the positions that the base model was made for."""

from typing import Any

from worker.qlora.failures import RunFailed


def check_lengths(config: Any, *, longest: int) -> str:
    """A notice, or a failure, for rows with more tokens than the model has positions; empty when there are none."""
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if positions is None or longest <= positions:
        return ""
    if not has_rotary_positions(config):
        raise RunFailed(
            "bad_config",
            f"The longest row has {longest:,} tokens, but the model has no more than {positions:,} positions.",
            advice=f"Set the max length to {positions} or less.",
        )
    return (
        f"The longest row has {longest:,} tokens; the model was made for {positions:,}. "
        f"Beyond them it guesses: a max length of {positions} is safe."
    )


def has_rotary_positions(config: Any) -> bool:
    """They can be reckoned for any place; learned ones end."""
    names = ("rope_parameters", "rope_theta", "rope_scaling", "rotary_emb_base", "rotary_pct")
    return any(getattr(config, name, None) is not None for name in names)
