"""The base subject, by which answers meet their original (RFC 5256 §2.1).

Pure and linear: prefixes are passed by position, the subject is not copied for each.
"""

import re
from typing import Final

_ANSWER: Final = re.compile(r"(?:re|fwd?)\s*(?:\[[^\[\]]*\]\s*)?:\s*", re.IGNORECASE | re.ASCII)
_BLOB: Final = re.compile(r"\[[^\[\]]*\]\s*")
_FORWARD: Final = "(fwd)"
_WRAPPER: Final = "[fwd:"


def base_subject(subject: str) -> str:
    """Return the subject without `Re:`, `Fwd:`, `[list]` and `(fwd)`, its blanks single.

    Its case stays: compare it case-insensitively.
    """
    text = " ".join(subject.split())
    begin, end = 0, len(text)
    while True:
        end = _without_forwards(text, begin, end)
        begin = _without_answers(text, begin, end)
        wrapped = text[begin : begin + len(_WRAPPER)].lower() == _WRAPPER
        if not (wrapped and text.endswith("]", begin + len(_WRAPPER), end)):
            return text[begin:end]
        begin, end = begin + len(_WRAPPER), end - 1
        while begin < end and text[begin] == " ":
            begin += 1


def _without_forwards(text: str, begin: int, end: int) -> int:
    while end > begin:
        if text[end - 1] == " ":
            end -= 1
        elif text[max(begin, end - len(_FORWARD)) : end].lower() == _FORWARD:
            end -= len(_FORWARD)
        else:
            break
    return end


def _without_answers(text: str, begin: int, end: int) -> int:
    """Return the position behind leaders; a list's name that is all of the subject stays."""
    while True:
        position = last = begin
        while blob := _BLOB.match(text, position, end):
            last, position = position, blob.end()
        answer = _ANSWER.match(text, position, end)
        if answer is None:
            return position if position < end else last
        begin = answer.end()
