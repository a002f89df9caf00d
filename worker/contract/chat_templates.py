"""Chat templates of our own, for models that have none. Pure."""

from pathlib import Path

FOLDER = Path(__file__).parent / "templates"


def read_chat_template(name: str) -> str:
    """The Jinja source of one of worker.contract.dataset.ChatTemplate's names."""
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
