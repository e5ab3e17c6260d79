r"""Where the answer is without a box: for benchmark rows that ask for none, and for the lenient profile alone.

Never used for rewards: without a box a policy is paid for whatever number happens to come last.
"""

from __future__ import annotations

import re

from reasoning_pipeline.verifier.extraction import Extraction, after_thinking, extract_answer, join_last_run

_STATED = re.compile(r"(?i)answer(?: is\b:?| ?[:=])[\s*]*")
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_NEXT_PROBLEM = re.compile(r"\n[ \t]*(?:\*\*)?(?:Question|Problem|Exercise|Q|Human|User)\b\s*\d*\s*[:.]")
_MATH = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$(.+?)(?<!\\)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
_NUMBER = re.compile(
    r"(?<![\w.])(-?(?:\d{1,3}(?:[, ]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)(?:\s*/\s*\d+)?)"
    r"\$?(\s?(?:\\?%|percent\b|pct\b))?"
)
_ENUMERATED = re.compile(r"[\w)}]\s*,\s+[\w({\\-]")
_CHOSEN_FROM = re.compile(rf"{_NUMBER.pattern}(?:(?:\s*,\s*(?:and\s|or\s)?|\s+(?:and|or)\s+){_NUMBER.pattern}){{1,8}}")
_GROUPED = re.compile(r"-?[1-9]\d{0,2}(?:[, ]\d{3})+(?:\.\d+)?")
_SENTENCE_END = re.compile(r"\n|(?<=[\w)}%*$°])[.!?](?=\s|\*|$)|[;!]")
# No two alternatives begin alike, so that nothing is tried twice.
_SYMBOLS = re.compile(
    r"(?:\\[A-Za-z]+(?![A-Za-z])|\\[^A-Za-z]|(?:sqrt|pi)(?![A-Za-z])|[A-Za-z](?![A-Za-z])|[^A-Za-z\n\\])+"
)
_WRITTEN_OUT = re.compile(r"[\dA-Za-z)}]\s*[-+*/^=√−·×]\s*[\dA-Za-z({√\\]|[√π\\^]")
_MARKED = re.compile(r"\$|\\[(\[]|\\boxed|\\fbox")
_TAIL, _SHORT = 4000, 200
_NEAR = 12
"""Boxes this close together are parts of one answer whatever stands between them."""


def extract_unboxed(text: str) -> Extraction:
    """A box if there is one, else what follows `####` or "the answer is", else the last formula or number."""
    boxed = extract_answer(text, near=_NEAR)
    said, finished = after_thinking(text)
    if boxed.status == "no_box" and finished:
        for line in _HASHES.finditer(said):  # the first: what comes after it is the next problem
            answer = _stated(line[1].strip(" *:"))
            if answer is not None and not re.match(r"[A-Za-z]{2}", line[1]):
                return Extraction(status="found", answer=answer)
        run_on = _NEXT_PROBLEM.search(said)
        if run_on and said[: run_on.start()].strip():
            said = said[: run_on.start()]
    tail = said[-_TAIL:]
    restated = tail.rfind("The final answer is $") > tail.rfind("\\boxed") >= 0
    if boxed.status not in ("no_box", "unclosed_box") and not restated:
        return boxed
    if "\\" in tail and len(tail) < _SHORT and not _MATH.search(tail):
        return Extraction(status="found", answer=tail)
    statements = [match.end() for match in _STATED.finditer(tail)]
    for start in (*statements[-1:], 0):
        rest = tail[start:].split("I hope it is correct")[0]
        answer = (_stated(rest) if start else None) or _last_formula_or_number(rest, first=start > 0)
        if answer is not None:
            return Extraction(status="found", answer=answer)
    return Extraction(status="no_box", answer=None)


def published(reference: str, *, unboxed: bool = False) -> str:
    """What a published reference says: the answer alone, where it ends a solution behind `####`, as GSM8K has it.

    `unboxed`: it may also stand in prose, as in a completion. A formula alone is what it is.
    """
    if "####" in reference:
        return reference.rpartition("####")[2].strip()
    text = reference.strip()
    formula = _SYMBOLS.fullmatch(text) and not _NUMBER.fullmatch(text) and not _MARKED.search(text)
    return reference if formula or not unboxed else extract_unboxed(reference).answer or reference


def _stated(rest: str) -> str | None:
    """What a sentence says that begins with the answer: a formula written out, or the first number in it."""
    end = _SENTENCE_END.search(rest)
    sentence = (rest[: end.start()] if end else rest).strip(" *_`:")
    if _MATH.search(rest[: len(sentence) + 2]):
        return None
    if _SYMBOLS.fullmatch(sentence) and (_WRITTEN_OUT.search(sentence) or _ENUMERATED.search(sentence)):
        return sentence
    if _CHOSEN_FROM.fullmatch(sentence):
        return " , ".join(map(_shown, _NUMBER.finditer(sentence)))
    numbers = list(_NUMBER.finditer(sentence))
    return _shown(numbers[0]) if numbers else None


def _last_formula_or_number(text: str, *, first: bool) -> str | None:
    """The last of both, or the formula right after "answer is". Formulas joined by "and" are one answer."""
    formulas = [(match.start(), match.end(), next(filter(None, match.groups()))) for match in _MATH.finditer(text)]
    numbers = [match for match in _NUMBER.finditer(text) if not any(a <= match.start() < b for a, b, _ in formulas)]
    if first and formulas and formulas[0][0] <= 1:
        return formulas[0][2]
    if formulas and (not numbers or numbers[-1].start() < formulas[-1][0]):
        percent = re.match(r"\s*(?:\\?%|percent\b|pct\b)", text[formulas[-1][1] :])
        return join_last_run(text, formulas) + (r"\%" if percent else "")
    if not numbers:
        return None
    return _shown(numbers[-1])


def _shown(match: re.Match[str]) -> str:
    number, percent_sign = match.groups()
    if "," in number and not _GROUPED.fullmatch(number):
        number = number.replace(",", ".")  # a decimal comma; in prose a list has a space after its commas
    return number + (r"\%" if percent_sign else "")
