"""Judged cases through both profiles: the shares that agree, and every wrong verdict on a line of its own.

    python -m benchmarks.verifier_cases CASES.jsonl [MORE.jsonl ...]

Rows are those of `python -m evals grade`, with `expected` (and `expected_strict` where the profiles differ on purpose).
Rows marked `debatable` count for nothing. Ends with status 1 when the strict profile accepts what is wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Literal

from evals.grade import grade_file
from evals.grade_summary import GradeSummary, print_disagreements
from reasoning_pipeline.verifier import shared_verifier

PROFILES: tuple[Literal["strict", "lenient"], ...] = ("strict", "lenient")


def outcomes(summary: GradeSummary) -> Counter[str]:
    """Agree, false accept, false reject and debatable over all rows; every row has one source."""
    total: Counter[str] = Counter()
    for key, counts in summary.agreement.items():
        if key.startswith("source "):
            total.update(counts)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="CASES.jsonl")
    paid_for_nothing = 0
    for file in parser.parse_args().files:
        for profile in PROFILES:
            started = time.perf_counter()
            with file.open(encoding="utf-8") as source:
                summary = grade_file(source, None, profile)
            found = outcomes(summary)
            judged = sum(found.values()) - found["debatable"]
            print_disagreements(summary)
            print(
                f"{file.name}, {profile}: {found['agree']} of {judged} ({found['agree'] / max(1, judged):.1%}), "
                f"{found['false accept']} false accepts, {found['false reject']} false rejects, "
                f"{summary.rows / (time.perf_counter() - started):.0f} rows a second"
            )
            paid_for_nothing += found["false accept"] if profile == "strict" else 0
    for profile in PROFILES:
        shared_verifier(profile).close()
    return 1 if paid_for_nothing else 0


if __name__ == "__main__":
    sys.exit(main())
