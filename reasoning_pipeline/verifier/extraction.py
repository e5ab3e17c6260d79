r"""Where the answer is in a completion: the last `\boxed{...}` after the last `</think>`.

Every rule is one pass over the text, so a megabyte of braces costs milliseconds. What the rules mean for several
boxes, hedges and cut-off texts is written down in docs/verifier.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

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
# Between boxes that together are one answer: "and", "or", a comma, a new variable's "y =", and nothing else.
_CONNECTOR = re.compile(
    r"(?:[\s$,;&~]|\\[,;:!()\[\] \\]|\\q?quad(?![A-Za-z])|\\text(?:rm|bf)?\s?\{(?:[^{}]{0,30}\W)?(?:and|or)[\s,]*\}"
    r"|\b(?:and|or)\b|[A-Za-z](?:_\{?\w\}?)?\s*=)*"
)
_MAX_GAP = 60
_NEAR = 12
"""Without a box protocol, boxes this close together are parts of one answer whatever stands between them."""


def extract_answer(text: str, *, near: int = -1) -> Extraction:
    r"""The answer of one completion.

    Example:
        extract_answer(r"<think>\boxed{41}</think> So \boxed{42}.") == Extraction(status="found", answer="42")
    """
    text, finished = after_thinking(text)
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
        else:
            word = _UNBRACED.match(text, start)
            position = word.end() if word else start
            boxes.append((match.start(), position, word.group().rstrip(".") if word else ""))
    if unclosed:
        return Extraction(status="unclosed_box", answer=None)
    if not boxes:
        return Extraction(status="no_box", answer=None)
    answer = _join_last_run(text, boxes, near)
    return Extraction(status="found" if answer.strip() else "empty_box", answer=answer)


def after_thinking(text: str) -> tuple[str, bool]:
    """The text after the last `</think>`, and whether thinking had ended. The template may have opened it."""
    end = text.rfind("</think>")
    if text.rfind("<think>") > end:
        return "", False
    return (text[end + len("</think>") :] if end >= 0 else text), True


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


def _join_last_run(text: str, boxes: list[tuple[int, int, str]], near: int = -1) -> str:
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


_STATED = re.compile(r"(?i)answer(?: is|:)\s*")
_MATH = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$(.+?)(?<!\\)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
_NUMBER = re.compile(
    r"(?<![\w.])(-?(?:\d{1,3}(?:[, ]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)(?:\s*/\s*\d+)?)"
    r"\$?(\s?(?:\\?%|percent\b|pct\b))?"
)
_GROUPED = re.compile(r"-?[1-9]\d{0,2}(?:[, ]\d{3})+(?:\.\d+)?")
_TAIL, _SHORT = 4000, 200


def extract_unboxed(text: str) -> Extraction:
    r"""For benchmark rows whose protocol has no box: a box if there is one, else the last formula or number.

    Never used for rewards: without a box a policy is paid for whatever number happens to come last.
    """
    boxed = extract_answer(text, near=_NEAR)
    tail = after_thinking(text)[0][-_TAIL:]
    restated = tail.rfind("The final answer is $") > tail.rfind("\\boxed") >= 0
    if boxed.status not in ("no_box", "unclosed_box") and not restated:
        return boxed
    if "\\" in tail and len(tail) < _SHORT and not _MATH.search(tail):
        return Extraction(status="found", answer=tail)
    stated = [match.end() for match in _STATED.finditer(tail)]
    for start in (*stated[-1:], 0):
        answer = _last_formula_or_number(tail[start:].split("I hope it is correct")[0], first=start > 0)
        if answer is not None:
            return Extraction(status="found", answer=answer)
    return Extraction(status="no_box", answer=None)


def _last_formula_or_number(text: str, *, first: bool) -> str | None:
    """The last of both, or the formula right after "answer is". Formulas joined by "and" are one answer."""
    formulas = [(match.start(), match.end(), next(filter(None, match.groups()))) for match in _MATH.finditer(text)]
    numbers = [match for match in _NUMBER.finditer(text) if not any(a <= match.start() < b for a, b, _ in formulas)]
    if first and formulas and formulas[0][0] <= 1:
        return formulas[0][2]
    if formulas and (not numbers or numbers[-1].start() < formulas[-1][0]):
        percent = re.match(r"\s*(?:\\?%|percent\b|pct\b)", text[formulas[-1][1] :])
        return _join_last_run(text, formulas) + (r"\%" if percent else "")
    if not numbers:
        return None
    number, percent_sign = numbers[-1].groups()
    if "," in number and not _GROUPED.fullmatch(number):
        number = number.replace(",", ".")  # a decimal comma; in prose a list has a space after its commas
    return number + (r"\%" if percent_sign else "")
