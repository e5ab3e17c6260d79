r"""Grades a file (or a pipe) of answers: the stable way to the verifier from anywhere.

Rows in, one JSON object a line: `gold` and `prediction`, texts or numbers. Optional:

    pred_kind        "latex": a bare answer, which is put into a box; "text": a whole completion. Without it a short
                     prediction without a box and without prose is a bare answer, anything else a completion.
    gold_kind        "latex" (as it is), or "text": the protocol asks for no box, and both sides are read without one.
                     A gold that ends a solution with "#### 18", as GSM8K's do, is 18, and is "text" unless said.
    question         text; the strict profile refuses what is copied from it. Where its published answer is known to be
                     wrong, the accuracy without such rows is told beside the accuracy.
    finish           "length" where the token limit cut the prediction
    expected         true or false, for --expected; `expected_strict` where the strict profile differs on purpose
    id, source, category, debatable

A row that cannot be graded is named, and the others are graded.

Verdicts out, one a line and in order: {"line", "id", "status", "reward", "extracted", "rule", "seconds", "profile"}.

    python -m evals grade answers.jsonl --out verdicts.jsonl
    python -m evals grade answers.jsonl --profile both --disagreements
    python -m evals grade cases.jsonl --expected
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

from reasoning_pipeline.base.command_line import Parser
from reasoning_pipeline.records import Verdict
from reasoning_pipeline.verifier import shared_verifier

from .grade_summary import GradeSummary, print_agreement, print_bad_rows, print_summary

Profile = Literal["strict", "lenient"]
_BATCH = 256
_BARE = 80
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class _Row:
    line: int
    data: dict[str, Any] | None
    problem: str = ""


def grade_file(source: TextIO, out: TextIO | None = None, profile: Profile = "lenient") -> GradeSummary:
    """Grades every row of `source`, writes one verdict a row to `out`, and holds only one batch in memory."""
    summary = GradeSummary(profile=profile)
    for batch in _batches(source):
        good = [row for row in batch if row.data is not None]
        verdicts = iter(grade_rows([row.data for row in good if row.data is not None], profile))
        for row in batch:
            if row.data is None:
                summary.skip(row.line, row.problem)
                _write(out, {"line": row.line, "status": None, "problem": row.problem})
                continue
            verdict = next(verdicts)
            _write(out, {"line": row.line, "id": row.data.get("id"), **asdict(verdict), "profile": profile})
            summary.count(row.line, row.data, verdict)
        if out is not None:
            out.flush()
    return summary


def grade_rows(rows: Sequence[dict[str, Any]], profile: Profile) -> list[Verdict]:
    """One verdict a row, in order."""
    texts = []
    for row in rows:
        prediction = row["prediction"]
        kind = row.get("pred_kind") or ("latex" if is_bare_answer(prediction) else "text")
        # The space keeps a backslash at the end of an answer from escaping the brace.
        texts.append(f"\\boxed{{{prediction} }}" if kind == "latex" else prediction)
    return shared_verifier(profile).judge(
        [row["gold"] for row in rows],
        texts,
        finishes=[row.get("finish") for row in rows],
        questions=[row.get("question") for row in rows],
        unboxed=[_asks_for_no_box(row) and row.get("pred_kind") != "latex" for row in rows],
    )


def _asks_for_no_box(row: dict[str, Any]) -> bool:
    return (row.get("gold_kind") or ("text" if "####" in row["gold"] else "latex")) == "text"


def is_bare_answer(prediction: str) -> bool:
    """Whether a prediction that no column explains is an answer and no completion: short, no box, no sentence."""
    if len(prediction) > _BARE or "\n" in prediction or re.search(r"\\(?:boxed|fbox)|</?think>|####", prediction):
        return False
    plain = re.sub(r"\\text\w*\s*\{[^{}]*\}|\\[A-Za-z]+", " ", prediction).strip()
    return re.search(r"[A-Za-z]{2,}", plain) is None or re.fullmatch(r"[A-Za-z]+", plain) is not None


def _batches(source: TextIO) -> Iterator[list[_Row]]:
    rows = (_parse(number, line) for number, line in enumerate(source, start=1) if line.strip())
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _parse(number: int, line: str) -> _Row:
    try:
        data = json.loads(line.removeprefix("\ufeff"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return _Row(number, None, f"not JSON: {error}")
    if not isinstance(data, dict):
        return _Row(number, None, f"expected an object with gold and prediction, found {type(data).__name__}")
    for column in ("gold", "prediction"):
        if isinstance(data.get(column), int | float) and not isinstance(data.get(column), bool):
            data[column] = str(data[column])
        if not isinstance(data.get(column), str):
            found = "no such column" if column not in data else type(data[column]).__name__
            return _Row(number, None, f"{column}: expected text, found {found}")
    for column in ("question", "finish"):
        if not isinstance(data.get(column), str | None):
            return _Row(number, None, f"{column}: expected text, found {type(data[column]).__name__}")
    for column in ("gold_kind", "pred_kind"):
        if data.get(column) not in (None, "latex", "text"):
            return _Row(number, None, f"{column}: expected latex or text, found {data[column]!r}")
    for column in ("gold", "prediction", "question"):
        if _SURROGATE.search(data.get(column) or ""):
            return _Row(number, None, f"{column}: half a character (a lone surrogate) is no text")
    return _Row(number, data)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number; write the answer as text")


def _write(out: TextIO | None, record: dict[str, Any]) -> None:
    if out is not None:
        out.write(_SURROGATE.sub("\ufffd", json.dumps(record, ensure_ascii=False)) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit status 1 when a row could not be graded, 2 when there is no such file, else 0."""
    parser = Parser(prog="evals grade", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="JSONL file, or - for standard input")
    parser.add_argument("--out", help="where verdicts go (default: standard output)")
    parser.add_argument("--profile", choices=["strict", "lenient", "both"], default="lenient")
    parser.add_argument(
        "--disagreements", action="store_true", help="print only the rows on which the profiles disagree"
    )
    parser.add_argument("--expected", action="store_true", help="compare with the expected column, print no verdicts")
    options = parser.parse_args(argv)
    try:
        with ExitStack() as stack:
            # Bytes that are not UTF-8 spoil their own row, not the file.
            source = (
                stack.enter_context(Path(options.file).open(encoding="utf-8-sig", errors="replace", newline="\n"))
                if options.file != "-"
                else sys.stdin
            )
            out = stack.enter_context(Path(options.out).open("w", encoding="utf-8")) if options.out else sys.stdout
            quiet = options.expected and not options.out
            if options.disagreements or options.profile == "both":
                summaries = _grade_both(source, None if quiet else out, only_disagreements=options.disagreements)
            else:
                summaries = [grade_file(source, None if quiet else out, options.profile)]
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(
            f"{error.filename}: {error.strerror}\n  → give the path of a JSONL file, or - for standard input",
            file=sys.stderr,
        )
        return 2
    for summary in summaries:
        if options.expected:
            print_agreement(summary)
        print_summary(summary, sys.stderr)
    print_bad_rows(summaries[0].bad_rows)
    return 1 if summaries[0].bad_rows else 0


def _grade_both(source: TextIO, out: TextIO | None, *, only_disagreements: bool) -> list[GradeSummary]:
    """Every row under both profiles; they disagree where a reward is stricter than a score."""
    summaries = [GradeSummary(profile="strict"), GradeSummary(profile="lenient")]
    outcomes: Counter[str] = Counter()
    for batch in _batches(source):
        data = [row.data for row in batch if row.data is not None]
        pairs = zip(grade_rows(data, "strict"), grade_rows(data, "lenient"), strict=True)
        for row in batch:
            if row.data is None:
                for summary in summaries:
                    summary.skip(row.line, row.problem)
                continue
            strict, lenient = pair = next(pairs)
            for summary, verdict in zip(summaries, pair, strict=True):
                summary.count(row.line, row.data, verdict)
            outcomes[f"strict {strict.status}, lenient {lenient.status}"] += 1
            if not only_disagreements or strict.correct != lenient.correct:
                record = {"line": row.line, "id": row.data.get("id"), "gold": row.data["gold"]}
                both = {"strict": asdict(strict), "lenient": asdict(lenient)}
                _write(out, record | {"extracted": lenient.extracted} | both)
        if out is not None:
            out.flush()
    for outcome, count in outcomes.most_common():
        print(f"{count:>8}  {outcome}", file=sys.stderr)
    return summaries


if __name__ == "__main__":
    sys.exit(main())
