"""A chat dataset of any length with what real ones have: escapes, other scripts, equal and nearly equal rows, addresses, bad rows."""

import random
from pathlib import Path

import numpy as np

SYLLABLES = "ba|ce|di|fo|gu|ha|je|ki|lo|mu|na|pe|qui|ro|su|ta|ve|wo|xi|zu|bra|che|dri|flo|gru|sta".split("|")  # noqa: SIM905
FOREIGN = ["naïve", "größer", "дом", "語る", "voilà", "año", "🚢"]  # as json.dumps(ensure_ascii=False) writes them
MARKS = ["", "", "", "", "", ",", ",", ".", ".", "!\\n\\n", ': \\"so\\"', ";", " (1,024)", " — 50 %"]
WORDS, TEXT_WORDS = 20_000, 3_000_000
EQUAL, NEAR, ADDRESS, CARD, KEY, BAD = 0.01, 0.02, 0.01, 0.0005, 0.0005, 0.0002
ROLES = ("user", "assistant")


class Writer:
    """Every row is cut from one long text of words as often as words are (Zipf), so rows share words and no sentences."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        numbers = np.random.default_rng(seed)
        words = ["".join(self.random.choices(SYLLABLES, k=self.random.randint(1, 4))) for _ in range(WORDS)] + FOREIGN * 20
        self.random.shuffle(words)
        chosen = np.minimum(numbers.zipf(1.08, TEXT_WORDS) - 1, len(words) - 1)
        marks = numbers.integers(0, len(MARKS), TEXT_WORDS)
        self.words = [words[word] + MARKS[mark] for word, mark in zip(chosen.tolist(), marks.tolist(), strict=True)]
        self.before = ""

    def text(self, low: int, high: int) -> str:
        start, length = self.random.randrange(TEXT_WORDS - high), self.random.randint(low, high)
        return " ".join(self.words[start : start + length])

    def row(self) -> str:
        chance = self.random.random()
        if chance < EQUAL and self.before:
            return self.before
        if chance < EQUAL + NEAR and self.before:
            return self.before.replace('"content": "', f'"content": "{self.words[self.random.randrange(TEXT_WORDS)]} ', 1)
        if chance > 1 - BAD:
            return '{"messages": [{"role": "user", "content": ""}]}\n'
        turns = [self._turn(ROLES[place % 2]) for place in range(2 * self.random.randint(1, 3))]
        self.before = f'{{"messages": [{", ".join(turns)}]}}\n'
        return self.before

    def _turn(self, role: str) -> str:
        text = self.text(4, 28) if role == "user" else self.text(10, 70)
        return f'{{"role": "{role}", "content": "{text}{self._private()}"}}'

    def _private(self) -> str:
        chance = self.random.random()
        if chance < ADDRESS:
            return f" {self.random.choice(SYLLABLES)}{self.random.randrange(1000)}@post.internal"
        if chance < ADDRESS + CARD:
            return " 4111 1111 1111 1111"
        return " sk-proj-" + "a1B2c3D4e5" * 5 if chance < ADDRESS + CARD + KEY else ""


def write_chats(path: Path, *, rows: int, seed: int = 20) -> int:
    """The bytes written; about 1 KB a row."""
    writer = Writer(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(rows):
            file.write(writer.row())
    return path.stat().st_size
