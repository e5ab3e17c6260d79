r"""Where the answer is in a completion: the last `\boxed{...}` after the last `</think>`.

Every rule is one pass over the text, so a megabyte of braces costs milliseconds. What the rules mean for several
boxes, hedges and cut-off texts is written down in docs/verifier.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from reasoning_pipeline.verifier.spelling import with_backslashes

BoxStatus = Literal["found", "no_box", "empty_box", "unclosed_box", "unfinished_thinking"]


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What was found.

    Examples:
        Extraction(status="found", answer="42")
        Extraction(status="no_box", answer=None)
    """

    status: BoxStatus
    answer: str | None


_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s{0,20}")
_UNBRACED = re.compile(r"[^\s$.,;{}\\][^\s$,;{}\\]*")
_BELL = "\x08oxed"
"""What is left of a box whose backslash a JSON writer took for the escape of a bell."""
_PROSE_WORD = re.compile(r"[`'\")]*[A-Za-z]{2,}[`'\").:]*|[`'\").]+")
"""`in \\boxed format` names boxes and is none; `\\boxed x` is one, as TeX draws it."""
_MENTION = 40
"""Longest content of a box that may be the mention of one."""
_QUOTED = re.compile(r"\s*(?:[,;:]|\{\}|$)")
_MENTIONED = re.compile(
    r"(?i)\s*|[\s.…]*(?:\\[lc]?dots[a-z]*)?[\s.…]*"
    r"|\s*(?:\\text\s*\{)?\s*(?:your |the |final |my )*answer(?: here)?\s*\}?\s*"
)
# Between boxes that together are one answer: "and", "or", a comma, a new variable's "y =", and nothing else.
_CONNECTOR = re.compile(
    r"(?:[\s$,;&~]|\\[,;:!()\[\] \\]|\\q?quad(?![A-Za-z])|\\text(?:rm|bf)?\s?\{(?:[^{}]{0,30}\W)?(?:and|or)[\s,]*\}"
    r"|\b(?:and|or)\b|[A-Za-z](?:_\{?\w\}?)?\s*=)*"
)
_MAX_GAP = 60


def extract_answer(text: str, *, near: int = -1) -> Extraction:
    r"""The answer of one completion.

    Example:
        extract_answer(r"<think>\boxed{41}</think> So \boxed{42}.") == Extraction(status="found", answer="42")
    """
    text, finished = after_thinking(with_backslashes(text) if _BELL in text else text)
    if not finished:
        return Extraction(status="unfinished_thinking", answer=None)
    boxes: list[tuple[int, int, str]] = []
    unclosed = False
    position = 0
    closing = _matching_braces(text) if "\\boxed" in text or "\\fbox" in text else {}
    while match := _BOX.search(text, position):
        start, unclosed = match.end(), False
        if text[start : start + 1] == "{":
            end = closing.get(start)
            if end is None:
                unclosed, position = True, start + 1
                continue
            boxes.append((match.start(), end + 1, text[start + 1 : end]))
            position = end + 1
        elif word := _UNBRACED.match(text, start):
            position = word.end()
            if not _PROSE_WORD.fullmatch(word.group()):
                boxes.append((match.start(), position, word.group().rstrip(".")))
        else:
            position = max(start, match.end())
            if not _QUOTED.match(text, start):
                boxes.append((match.start(), position, ""))
    if unclosed:
        return Extraction(status="unclosed_box", answer=None)
    # "I put it in \boxed{} as asked": a mention of boxes after the answer is no second answer.
    while len(boxes) > 1 and len(boxes[-1][2]) < _MENTION and _MENTIONED.fullmatch(boxes[-1][2]):
        boxes.pop()
    if not boxes:
        return Extraction(status="no_box", answer=None)
    answer = join_last_run(text, boxes, near)
    return Extraction(status="found" if answer.strip() else "empty_box", answer=answer)


_TAG = re.compile(r"<(/?)think>")
_MENTION_BEFORE = re.compile(r"(?:[\w,;:(\"'`*] ?|[\"'`(])$")
_MENTION_AFTER = re.compile(r"(?P<sure>[\"'`)]|,|\.| ?(?:tags?|blocks?|sections?|tokens?)\b)|[ \t]+[A-Za-z(]")


def after_thinking(text: str) -> tuple[str, bool]:
    """The text after thinking, and whether thinking had ended.

    A tag opens or closes thinking where a completion or its template puts it: alone, at a border of a line or of the
    text. One inside a sentence ("see the <think> block") is a mention. Where no other tag closes what was opened, a
    mention of the closing one is taken for it.
    """
    if "think>" not in text:
        return text, True
    opened = False
    answer_from, doubtful = 0, -1
    for match in _TAG.finditer(text):
        mention = _mention(text, match.start(), match.end())
        if match[1]:
            if not mention:
                opened, answer_from, doubtful = False, match.end(), -1
            elif opened and not mention["sure"]:
                doubtful = match.end()
        elif not mention:
            opened, doubtful = True, -1
    if opened and doubtful >= 0:
        opened, answer_from = False, doubtful
    return ("", False) if opened else (text[answer_from:], True)


def _mention(text: str, start: int, end: int) -> re.Match[str] | None:
    before, after = text[max(0, start - 2) : start], text[end : end + 12]
    return _MENTION_AFTER.match(after) if before.strip() and _MENTION_BEFORE.search(before) else None


def _matching_braces(text: str) -> dict[int, int]:
    """Index of each opening brace's partner; escaped braces do not count. A `\\\\` before a brace is a line break."""
    partner: dict[int, int] = {}
    stack: list[int] = []
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if match.group() == "{":
            stack.append(match.start())
        elif match.group() == "}" and stack:
            partner[stack.pop()] = match.start()
    return partner


def join_last_run(text: str, boxes: list[tuple[int, int, str]], near: int = -1) -> str:
    """The last box, or the list that the last boxes form when only "and", "or" or commas stand between them."""
    answers = [boxes[-1][2]]
    for (_, end, content), (start, _, _) in zip(boxes[-2::-1], boxes[:0:-1], strict=True):
        gap = text[end:start]
        joined = gap.strip() and len(gap) <= _MAX_GAP and _CONNECTOR.fullmatch(gap)
        if not joined and len(gap) > near:
            break
        answers.append(content)
    answers.reverse()
    return answers[0] if len(set(answers)) == 1 else " , ".join(answers)
