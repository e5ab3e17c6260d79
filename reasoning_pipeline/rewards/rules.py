r"""The plain kinds of reward: linear in the text's length, in this process, and never an exception over a text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from reasoning_pipeline.records import Status
from reasoning_pipeline.rewards.config import ChoiceReward, ExactReward, FormatReward, NumericReward
from reasoning_pipeline.verifier.extraction import after_thinking, extract_answer

MOST_CHARACTERS = 2_000
"""Of an answer that is compared; a longer one is none."""
_NUMBER = re.compile(r"([-+]?)(\d{1,40}(?:,\d{3}){0,12}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE]([-+]?\d{1,3}))?", re.ASCII)
_FRACTION = re.compile(
    r"([-+]?\d{1,40})\s*/\s*([1-9]\d{0,39})|([-+]?)\\[dt]?frac\{(\d{1,40})\}\{([1-9]\d{0,39})\}", re.ASCII
)
_DRESS = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}")


@dataclass(frozen=True)
class Score:
    """What one part of a reward thinks of one text.

    Example:
        Score(value=1.0, status="correct", extracted="B", rule="choice")
    """

    value: float | None
    status: Status
    extracted: str | None = None
    rule: str = ""


def exact(part: ExactReward, reference: str, text: str, finish: str) -> Score:
    return _compared(part, text, finish, lambda answer: _alike(part, answer) == _alike(part, reference))


def choice(part: ChoiceReward, reference: str, text: str, finish: str) -> Score:
    wanted = _letter(reference, part.letters)
    return _compared(part, text, finish, lambda answer: wanted is not None and _letter(answer, part.letters) == wanted)


def numeric(part: NumericReward, reference: str, text: str, finish: str) -> Score:
    wanted = number(reference)

    def equal(answer: str) -> bool:
        found = number(answer)
        if found is None or wanted is None:
            return False
        return abs(found - wanted) <= max(part.absolute, part.relative * abs(wanted))

    return _compared(part, text, finish, equal)


def form(part: FormatReward, text: str, finish: str) -> Score:
    """Without a pattern; one of a recipe's own is matched in a worker, since it may take exponential time."""
    good = finish == "stop" and extract_answer(text).status == "found"
    return Score(float(good), "correct" if good else "wrong", rule="format")


def unusable(part: object, reference: str) -> str | None:
    """Why a reference cannot serve this kind; None where it can."""
    if isinstance(part, ExactReward | ChoiceReward | NumericReward) and not reference.strip():
        return "empty answer"
    if isinstance(part, ChoiceReward) and _letter(reference, part.letters) is None:
        return f"not one of the letters {part.letters}: {reference[:40]!r}"
    if isinstance(part, NumericReward) and number(reference) is None:
        return f"not a number: {reference[:40]!r}"
    return None


def _compared(
    part: ExactReward | ChoiceReward | NumericReward, text: str, finish: str, equal: Callable[[str], bool]
) -> Score:
    answer, status = located(part, text)
    if answer is None:
        cut = finish == "length" and status in ("no_box", "unclosed_box", "unfinished_thinking")
        return Score(0.0, "truncated" if cut else status, rule="extraction")
    right = len(answer) <= MOST_CHARACTERS and equal(answer)
    return Score(float(right), "correct" if right else "wrong", answer[:MOST_CHARACTERS], part.kind)


def located(part: ExactReward | ChoiceReward | NumericReward, text: str) -> tuple[str | None, Status]:
    """The final answer in a text; None with the reason where there is none."""
    if part.after is None and part.where == "box":
        found = extract_answer(text)
        return (found.answer, "wrong") if found.status == "found" else (None, found.status)
    said, finished = after_thinking(text)
    said = said.strip()
    if not finished:
        return None, "unfinished_thinking"
    if part.after is not None:
        _, found_it, behind = said.rpartition(part.after)
        answer = behind.split("\n", 1)[0].strip() if found_it else ""
        return (answer, "wrong") if answer else (None, "no_box")
    if part.where == "last_line":
        said = said.rpartition("\n")[2].strip()
    return (said, "wrong") if said else (None, "no_box")


def number(text: str) -> float | None:
    """The number that a text is, in common spellings; None for anything else, infinities included."""
    plain = text.strip().strip("$").replace("−", "-").replace("\\,", "").replace("{,}", ",").strip()
    plain = plain.removesuffix("%").removesuffix("\\").rstrip(" .")
    if (ratio := _FRACTION.fullmatch(plain)) is not None:
        top, bottom = (ratio[1], ratio[2]) if ratio[2] else (ratio[3] + ratio[4], ratio[5])
        return int(top) / int(bottom)
    if (found := _NUMBER.fullmatch(plain)) is None:
        return None
    value = float(f"{found[1]}{found[2].replace(',', '')}e{found[3] or 0}")
    return value if abs(value) < float("inf") else None


def _alike(part: ExactReward, text: str) -> str:
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    return plain.casefold() if part.ignore_case else plain


def _letter(text: str, letters: str) -> str | None:
    plain = _DRESS.sub(r"\1", text[:MOST_CHARACTERS]).strip().strip("$*_ ").strip()
    found = re.match(r"\(?\s*([A-Za-z])\s*(?:\)|\]|[.:,]|$|\s*\n)", plain)
    letter = found[1].upper() if found else ""
    return letter if letter and letter in letters else None
