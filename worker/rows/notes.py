"""What was accepted and written in another way, counted for the report: nothing is changed in silence."""

from collections import Counter
from typing import Literal

Note = Literal["text_parts", "json_text", "developer", "old_calls", "bare_tools", "label_text"]
Notes = Counter[Note]

NOTE_WORDS: dict[Note, str] = {
    "text_parts": "Contents written as lists of text parts were joined to one text.",
    "json_text": "Lists and objects written as JSON inside a text were read as what they are.",
    "developer": "The role developer was read as system, the name that chat templates know.",
    "old_calls": "function_call and the role function, OpenAI's older names, were read as tool_calls and tool.",
    "bare_tools": "Tools without type and function around them were put into that frame.",
    "label_text": "Labels written as the words true and false were read as true and false.",
}
