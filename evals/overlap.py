"""`python -m evals overlap TRAIN.jsonl math500 aime24 [--data math500=FILE.jsonl]`: contamination, problem by problem.

What counts as an overlap is decided in reasoning_pipeline/data/overlap.py, which the pools of a recipe use too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from reasoning_pipeline.base.command_line import Parser
from reasoning_pipeline.beside import EVALS
from reasoning_pipeline.data.overlap import NGRAM, Overlap, find_overlaps


def main(argv: Sequence[str]) -> int:
    parser = Parser(prog=f"{EVALS} overlap", description="List training problems that a benchmark holds too.")
    parser.add_argument("train", type=Path, help="JSONL of training problems")
    parser.add_argument("suites", nargs="+", metavar="SUITE", help="suite names or JSONL files")
    parser.add_argument("--data", action="append", default=[], metavar="[SUITE=]FILE", help="local copy of a suite")
    parser.add_argument("--ngram", type=int, default=NGRAM, metavar="N", help="words in a row (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    arguments = parser.parse_args(argv)
    if arguments.ngram < 2:
        parser.error(f"argument --ngram: at least 2 (got {arguments.ngram})")

    from reasoning_pipeline.data.rows import Columns, jsonl_rows, read_problem
    from reasoning_pipeline.data.suites.loading import load_suite

    from .cli import local_files

    train = [read_problem(place, row, Columns()) for place, row in jsonl_rows(arguments.train)]
    files = local_files(arguments.data, arguments.suites)
    for name in arguments.suites:
        suite = load_suite(name, data=files.get(name), allow_changed=True, audit=False)
        overlaps = find_overlaps(train, suite.problems, n=arguments.ngram)
        for overlap in overlaps:
            line = {"suite": suite.name, **asdict(overlap)}
            print(json.dumps(line, ensure_ascii=False) if arguments.json else _line(suite.name, overlap))
        exact = {o.benchmark_id for o in overlaps if o.kind == "exact"}
        near = {o.benchmark_id for o in overlaps} - exact
        print(
            f"{suite.name}: {len(exact)} of {len(suite.problems)} problems stand in {arguments.train} word for word, "
            f"{len(near)} more share {arguments.ngram} words in a row",
            file=sys.stderr,
        )
    return 0


def _line(suite: str, overlap: Overlap) -> str:
    return f"{suite}  {overlap.kind:5}  {overlap.train_id}  {overlap.benchmark_id}  {overlap.shared}"
