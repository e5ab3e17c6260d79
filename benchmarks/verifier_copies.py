r"""Searches for answers that pay without work: what stands in a question, offered as the answer to it.

    python -m benchmarks.verifier_copies PROBLEMS.jsonl [--limit 7500] [--show 40] [--done DONE.jsonl]

Of every question (columns `problem` and `answer`) the formula spans that are worth the reference are looked for, by the
lenient profile. Each, plain and under the rewrites below, is then judged by the strict profile with the question beside
it. A problem counts as paid when one of them earns the reward although it is not the reference itself up to dress, with
or without a name before it: a number that stands in the question cannot be told from an answer.
With --done every question is written down as it is finished, and the same command goes on where it was stopped.
Ends with status 1 where more than one in a thousand problems pays.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.shared import where
from reasoning_pipeline.verifier import Verifier
from reasoning_pipeline.verifier.grading import squeezed
from reasoning_pipeline.verifier.questions import is_reference

BUDGET = 0.001
SEGMENT = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$(.+?)(?<!\\)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
PIECE = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\s+|.", re.DOTALL)
_RELATION = re.compile(r"\\leq?(?![a-z])|\\geq?(?![a-z])|[=<>]")
_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\leq": "\\geq", "\\ge": "\\le", "\\geq": "\\leq", "=": "="}
_MOST_SPANS = 80
"""Spans of one question: whole formulas, their sides and bracketed parts, then all others up to this many."""


def spans(question: str) -> list[str]:
    """Formula spans with balanced braces: segments, sides of relations, list items, and runs of pieces."""
    found: dict[str, None] = {}
    segments = [next(filter(None, match.groups())) for match in SEGMENT.finditer(question)] or [question]
    for segment in segments:
        for part in (segment, *_RELATION.split(segment), *re.split(r",|\\text\{[^{}]*\}", segment)):
            found.setdefault(part.strip(" .,;:"))
    for segment in segments:
        pieces = PIECE.findall(segment)[:60]
        for start in range(len(pieces)):
            depth = 0
            for end in range(start, min(len(pieces), start + 24)):
                depth += {"{": 1, "}": -1}.get(pieces[end], 0)
                if depth < 0:
                    break
                if depth == 0 and end > start:
                    found.setdefault("".join(pieces[start : end + 1]).strip(" .,;:"))
    return [span for span in found if 1 < len(span) <= 200 and _nests(span)]


def _nests(span: str) -> bool:
    depth = 0
    for piece in PIECE.findall(span):
        depth += {"{": 1, "}": -1}.get(piece, 0)
        if depth < 0:
            return False
    return depth == 0


def rewrites(span: str) -> Iterator[str]:
    """The same span with trivial changes of its dress."""
    yield span
    relation = _RELATION.search(span)
    if relation is None:
        for form in (
            "0+{}", "{}+0", "1\\cdot {}", "({})", "{{{}}}", "\\text{{{}}}", "--({})", "\\frac{{{}}}{{1}}", "{}={}",
            "{}, {}", "2\\cdot({})-({})", "\\left({}\\right)^1", "\\frac{{2({})}}{{2}}", "x={}", "1({})", "{}+1-1",
            "\\left|{}\\right|", "{}\\cdot x^0", "\\max({}, {})",
        ):  # fmt: skip
            yield form.format(*[span] * form.count("{}"))
        terms = re.split(r"\s*\+\s*", span)
        if len(terms) == 2:
            yield f"{terms[1]}+{terms[0]}"
        return
    low, sign, high = span[: relation.start()].strip(), relation[0], span[relation.end() :].strip()
    yield f"{high} {_FLIPPED[sign]} {low}"
    yield f"2({low}) {sign} 2({high})"
    yield f"0+{low} {sign} {high}"
    yield f"{low} - ({high}) {sign} 0"
    yield f"\\text{{{span}}}"
    yield f"{span}, {span}"


def equal_spans(problem: str, answer: str, lenient: Verifier) -> list[str]:
    """The spans that are worth the reference, by the more generous profile, and are not the reference itself."""
    candidates = [
        span
        for span in spans(problem)[:_MOST_SPANS]
        if re.search(r"\w", span) and squeezed(span) != squeezed(answer) and not _gives(span, answer)
    ]
    verdicts = lenient.judge([answer] * len(candidates), [boxed(span) for span in candidates])
    return [span for span, verdict in zip(candidates, verdicts, strict=True) if verdict.correct]


def _gives(span: str, answer: str) -> bool:
    """The reference as it is, or a name with it: `y = 2` gives the number 2, which no rule can tell from an answer."""
    return any(is_reference(side, answer) for side in (span, *re.split("=", span)) if side.strip())


def boxed(answer: str) -> str:
    return f"\\boxed{{{answer} }}"


def search(row: dict[str, Any], strict: Verifier, lenient: Verifier) -> dict[str, Any]:
    """How many copies of its formulas one question was offered, and which were paid."""
    problem, answer = row["problem"], row["answer"]
    forms = {form: None for span in equal_spans(problem, answer, lenient) for form in rewrites(span)}
    forms = {form: None for form in forms if _nests(form) and not is_reference(form, answer)}
    verdicts = strict.judge([answer] * len(forms), list(map(boxed, forms)), questions=[problem] * len(forms))
    won = [form for form, verdict in zip(forms, verdicts, strict=True) if verdict.correct]
    return {"offered": len(forms), "won": won}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--time-limit", type=float, default=1.0, help="seconds of one verdict; more on a busy machine")
    parser.add_argument("--show", type=int, default=40)
    parser.add_argument("--done", type=Path, help="where finished questions are kept; of this version of the verifier")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.problems.read_text(encoding="utf-8").split("\n") if line.strip()]
    rows = [row for row in rows if row["answer"].strip()][: options.limit]
    strict, lenient = (
        Verifier(profile, workers=options.workers, time_limit_s=options.time_limit)  # type: ignore[arg-type]
        for profile in ("strict", "lenient")
    )
    lenient.pool = strict.pool
    started = time.perf_counter()
    finished: list[dict[str, Any]] = []
    if options.done is not None and options.done.exists():
        finished = [json.loads(line) for line in options.done.read_text(encoding="utf-8").splitlines()]
    with options.done.open("a", encoding="utf-8") if options.done is not None else nullcontext() as kept:
        for row in rows[len(finished) :]:
            finished.append(search(row, strict, lenient))
            if kept is not None:
                print(json.dumps(finished[-1]), file=kept, flush=True)
    strict.close()
    questions, offered = sum(found["offered"] > 0 for found in finished), sum(found["offered"] for found in finished)
    paid = [(row, found["won"]) for row, found in zip(rows, finished, strict=False) if found["won"]]
    for row, won in paid[: options.show]:
        print(f"{row.get('unique_id', '-')}: reference {row['answer']!r} is paid for {', '.join(map(repr, won[:4]))}")
    share = len(paid) / max(1, len(rows))
    print(
        f"{len(rows):,} questions, {questions:,} with a formula worth the reference: {offered:,} copies offered "
        f"in {time.perf_counter() - started:.0f} s, {len(paid)} problems pay ({share:.2%}, at most {BUDGET:.2%})"
    )
    print(where())
    return 1 if share > BUDGET else 0


if __name__ == "__main__":
    sys.exit(main())
