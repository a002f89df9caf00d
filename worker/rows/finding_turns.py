"""Where each answer stands in a rendered conversation, for templates that do not say it.

The conversation is rendered twice: as it is, and with a character of Unicode's private use before and after each answer. Without
those both texts must be the same, so the characters show where the answers are. A turn runs from the end of its header to its
end-of-turn token. Where this does not work out, each turn is rendered by itself and must stand unchanged in the whole.
"""

from worker.rows.errors import RuleFailed
from worker.rows.rendering import REASONING, assistant_places, render
from worker.rows.row import Message, Row
from worker.rows.tokenizer import RowTokenizer
from worker.rows.tokens import Span

START, END = "\ue0f0", "\ue0f1"  # private use, and of 2 bytes: a character beyond those would double Python's strings
THINKING = "<think>"
LOOKED_AT = 40  # characters of the next message: enough to see that a turn has run into it


class Unclear(Exception):
    """The characters do not tell for this row."""


class TurnFinder:
    def __init__(self, tokenizer: RowTokenizer, *, header: str, end: str) -> None:
        self.tokenizer, self.end = tokenizer, end
        self.opened = header.partition(THINKING)[0]  # some ask with the thinking begun, or left out: an answer may do otherwise
        self.headers = [each for each in dict.fromkeys((header, self.opened)) if each]

    def find(self, row: Row) -> tuple[str, list[Span]]:
        """The text and a span for each assistant turn. Raises RuleFailed."""
        text = render(self.tokenizer, messages=row.messages, tools=row.tools)
        places = list(assistant_places(row))
        try:
            return text, self._by_characters(row, text=text, places=places)
        except Unclear:
            return text, [self._by_itself(row, place=place, whole=text) for place in places]

    def _by_characters(self, row: Row, *, text: str, places: list[int]) -> list[Span]:
        answers = self._answers(row, text=text, places=places)
        spans: list[Span] = []
        after = 0
        for place, (begin, finish) in zip(places, answers, strict=True):
            start = self._start(row, text=text, place=place, after=after, begin=begin, finish=finish)
            after = self._stop(row, text=text, place=place, finish=finish)
            spans.append((start, after))
        return spans

    def _answers(self, row: Row, *, text: str, places: list[int]) -> list[tuple[int | None, int]]:
        """Where each answer begins (None: the template drops its beginning) and ends in the text."""
        if START in text or END in text:
            raise Unclear
        messages = list(row.messages)
        for place in places:
            messages[place] = self._surrounded(messages[place])
        try:
            shown = render(self.tokenizer, messages=messages, tools=row.tools)
        except RuleFailed as failed:
            raise Unclear from failed
        if shown.count(END) != len(places) or shown.replace(START, "").replace(END, "") != text:
            raise Unclear
        return _places_of(shown)

    def _surrounded(self, message: Message) -> Message:
        """With the characters inside the spaces around the answer, which many templates strip."""
        content = str(message.get("content") or "")
        inner = content.strip()
        if inner:
            at = content.find(inner)
            return {**message, "content": f"{content[:at]}{START}{inner}{END}{content[at + len(inner) :]}"}
        return {**message, "tool_calls": self._surrounded_calls(message.get("tool_calls"))}

    def _surrounded_calls(self, calls: object) -> list[object]:
        """A turn without words: around the name of the first function that it calls."""
        if not isinstance(calls, list) or not calls or self.end in str(calls):
            raise Unclear
        match calls[0]:
            case {"function": {"name": str(name), **others}, **rest}:
                return [{**rest, "function": {**others, "name": f"{START}{name}{END}"}}, *calls[1:]]
            case {"name": str(name), **rest}:
                return [{**rest, "name": f"{START}{name}{END}"}, *calls[1:]]
        raise Unclear

    def _start(self, row: Row, *, text: str, place: int, after: int, begin: int | None, finish: int) -> int:
        """After the header; where there is none (or nothing was asked before) at the answer."""
        is_sure = begin is not None and not any(row.messages[place].get(name) for name in REASONING)
        for header in self.headers if place else ():
            until = finish if begin is None else begin + len(header) - len(self.opened)  # its thinking may be in the answer
            at = text.rfind(header, after, until)
            if at >= 0 and (is_sure or text.find(header, after, until) == at):
                return at + len(header)
            if at >= 0:
                raise Unclear
        if begin is None or (place and self.headers):
            raise Unclear
        return with_spaces(text, at=begin, after=after) if place else begin

    def _stop(self, row: Row, *, text: str, place: int, finish: int) -> int:
        at = text.find(self.end, finish)
        if at < 0:
            raise Unclear
        between = text[finish:at]
        if between.strip() and (not row.messages[place].get("tool_calls") or _next_words(row, place) in between):
            raise Unclear
        return at + len(self.end)

    def _by_itself(self, row: Row, *, place: int, whole: str) -> Span:
        """The turn's text, from the first character after its header to its end-of-turn token."""
        through = render(self.tokenizer, messages=row.messages[: place + 1], tools=row.tools)
        start = self._start_by_itself(row, place=place, through=through)
        content = str(row.messages[place].get("content") or "").strip()
        content_at = through.find(content, start)
        if content_at < 0:
            raise RuleFailed("the chat template changes what the assistant says")
        end_at = through.find(self.end, content_at + len(content)) if content else through.rfind(self.end)
        if end_at < start:
            raise RuleFailed("a turn has no end-of-turn token")
        stop = end_at + len(self.end)
        if not whole.startswith(through[:stop]):
            raise RuleFailed("the chat template renders a turn differently once another one follows")
        return start, stop

    def _start_by_itself(self, row: Row, *, place: int, through: str) -> int:
        content = str(row.messages[place].get("content") or "").strip()
        if place == 0:  # nothing to ask after: most templates cannot render an empty conversation
            return max(through.find(content), 0)
        before = render(self.tokenizer, messages=row.messages[:place], tools=row.tools)
        asked = render(self.tokenizer, messages=row.messages[:place], tools=row.tools, asks=True)
        if asked == before:  # a template without a header for answers
            return with_spaces(through, at=max(through.find(content, len(before)), 0), after=len(before))
        if not through.startswith(asked):
            raise RuleFailed("the chat template renders an answer differently from the question that asks for it")
        return len(asked)


def with_spaces(text: str, *, at: int, after: int) -> int:
    """Without a header the spaces before an answer are written by the model: for most tokenizers they are in its first token."""
    while at > after and text[at - 1] == " ":
        at -= 1
    return at


def _places_of(shown: str) -> list[tuple[int | None, int]]:
    """START and END in turn, in places of the text without them; a START may be missing."""
    found: list[tuple[int | None, int]] = []
    at = passed = 0
    while (end := shown.find(END, at)) >= 0:
        start = shown.find(START, at, end)
        if start >= 0:
            begin, passed = start - passed, passed + 1
            found.append((begin, end - passed))
            if START in shown[start + 1 : end]:
                raise Unclear
        else:
            found.append((None, end - passed))
        passed += 1
        at = end + 1
    if START in shown[at:]:
        raise Unclear
    return found


def _next_words(row: Row, place: int) -> str:
    """What the next message begins with; something that is nowhere if there is none."""
    following = row.messages[place + 1 : place + 2]
    return (str(following[0].get("content") or "").strip()[:LOOKED_AT] if following else "") or END
