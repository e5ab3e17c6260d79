r"""One pair of reference and answer to one decision. Pure, bounded, and the same code in the caller and in a worker.

In the caller it works with exact arithmetic alone and may end undecided. A worker calls it again with
`symbolic.algebra_equal`, and asks math-verify where this grammar does not reach.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from reasoning_pipeline.records import Status
from reasoning_pipeline.verifier.answers import Answer, read
from reasoning_pipeline.verifier.bounds import TooLarge, Unreadable
from reasoning_pipeline.verifier.compare import Comparison
from reasoning_pipeline.verifier.expressions import NeedsAlgebra
from reasoning_pipeline.verifier.formulas import Profile, Truth, exact_equal
from reasoning_pipeline.verifier.questions import copied
from reasoning_pipeline.verifier.spelling import ascii_latex
from reasoning_pipeline.verifier.trees import Tree


@dataclass(frozen=True)
class Decision:
    """What became of one pair; `status` None leaves it to a worker.

    Example:
        Decision("wrong", "exact")
    """

    status: Status | None
    rule: str


COPIED = Decision("wrong", "copied question")
_INTEGER = re.compile(r"\s*([-+]?)0*(\d{1,40})\s*")
_MAX_COUNT = 5_000
_SPACE = r"(?:\\(?:left|right|displaystyle|[,;:! ])(?![A-Za-z])|[\s$])+"
_SPACING = re.compile(rf"(?P<parts>(?<=\d){_SPACE}(?=\.?\d)|(?<=\d\.){_SPACE}(?=\d))|{_SPACE}|\.$")


def integer(text: str) -> int | None:
    """The value of a plain integer, however padded; the fastest path of all."""
    match = _INTEGER.fullmatch(text)
    return int(match[1] + match[2]) if match else None


def squeezed(text: str) -> str:
    """The text without what only spaces it: two answers that squeeze alike are alike. `2 04` is not 204."""
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    return _SPACING.sub(lambda match: " " if match["parts"] else "", ascii_latex(text))


def decide(
    gold: str,
    answer: str,
    profile: Profile,
    equal: Callable[[Tree, Tree], Truth] = exact_equal,
    question: str | None = None,
) -> Decision:
    """The decision by these rules alone; `Decision(None, ...)` where they cannot tell."""
    if not gold.strip():
        return Decision("reference_unparsed", "empty reference")
    golds = readings(gold)
    if isinstance(golds, Unreadable) and not _comparable_as_text(gold):
        return Decision("reference_unparsed", f"reference: {golds}")
    first, second = integer(gold), integer(answer)
    if first is not None and second is not None:
        return Decision("correct" if first == second else "wrong", "integer")
    answers = readings(answer)
    if squeezed(gold) == squeezed(answer) and not _hides(answers):
        return Decision("correct", "same text")
    if isinstance(answers, TooLarge):
        return Decision("too_long", str(answers))
    if isinstance(golds, NeedsAlgebra) or isinstance(answers, NeedsAlgebra):
        if too_many_terms(answer):
            return Decision("too_long", "a sum or product over too many terms")
        if profile == "strict" and not isinstance(golds, NeedsAlgebra):
            return Decision("wrong", "unevaluated")
        return Decision(None, "algebra")
    if isinstance(answers, Unreadable):
        return Decision("unparsed", str(answers))
    if isinstance(golds, Unreadable):
        return Decision("wrong", "text")
    try:
        truth = Comparison(profile, equal, question).readings(golds, answers)
    except TooLarge as error:
        return Decision("too_long", str(error))
    except Unreadable as error:
        return Decision("wrong", str(error))
    if truth is None:
        return Decision(None, "algebra")
    if truth and profile == "strict" and question and copied(question, golds, answers, answer):
        return COPIED
    return Decision("correct" if truth else "wrong", "exact")


def is_copy(gold: str, answer: str, question: str | None) -> bool:
    """Whether an answer that math-verify judged stands in the question, and is not the reference."""
    if not question:
        return False
    golds, answers = readings(gold), readings(answer)
    if not isinstance(golds, Unreadable) and not isinstance(answers, Unreadable):
        return copied(question, golds, answers, answer)
    shown = squeezed(answer)
    return shown != squeezed(gold) and shown in squeezed(question)


def readings(text: str) -> tuple[Answer, ...] | Unreadable:
    """The readings, or the reason why there is none."""
    try:
        return read(text)
    except Unreadable as error:
        return error
    except RecursionError:
        return TooLarge("nested too deep")


def _comparable_as_text(gold: str) -> bool:
    """A reference that cannot be read still serves when the same text is all that could match, and braces balance."""
    return len(gold) <= 512 and gold.count("{") == gold.count("}") and re.search(r"\w", gold) is not None


def too_many_terms(answer: str) -> bool:
    """Whether a sum, product or limit in the text runs to numbers that algebra would have to count through."""
    digits = [int(number) for number in re.findall(r"\d{1,9}", answer)]
    return max(digits, default=0) > _MAX_COUNT or re.search(r"\^\s*\{[^{}]*\^", answer) is not None


def _hides(answers: object) -> bool:
    return isinstance(answers, Unreadable) and "hides" in str(answers)
