"""The cognitive gap: how little of what users asked for could have been guessed from the query alone.

With p(r) the probability that a rule r of the feedback is covered by the rules guessed from the query, a log's gap is
min over its rules of 1 - p(r), and a cluster's the mean over its logs (arXiv 2602.06470). A low gap says that the model
knew and did not do; there an expert can learn to do it unasked. A scorer that says yes to everything makes every gap
low, so it is tried first on pairs whose answer is known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from reasoning_pipeline.errors import PipelineError

GAP_FILE = "gap.json"
LEAST_AUC, LEAST_MARGIN = 0.8, 0.2
"""That a coverage scorer must reach on pairs whose answer is known."""
Coverage = Callable[[Sequence[tuple[str, Sequence[str]]]], list[float]]
"""(rule, rules it may be covered by) -> probabilities of yes."""

CALIBRATION: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("Answer in one sentence.", ("Keep the answer to a single sentence.", "Be polite."), True),
    ("Use bullet points.", ("Write the answer as a bulleted list.",), True),
    ("Give an example.", ("Include a concrete example.", "Name your sources."), True),
    ("Avoid technical jargon.", ("Explain it in plain words, without jargon.",), True),
    ("State the units of every figure.", ("Give units with all numbers.", "Round sensibly."), True),
    ("End with a question to the reader.", ("Close by asking the reader something.",), True),
    ("Answer in one sentence.", ("Explain at length, with background.",), False),
    ("Use bullet points.", ("Mention the year of the event.", "Be polite."), False),
    ("Give an example.", ("Write in the first person.",), False),
    ("Avoid technical jargon.", ("State the units of every figure.",), False),
    ("State the units of every figure.", ("Use a friendly tone.", "Add a title."), False),
    ("End with a question to the reader.", ("Cite two books.",), False),
)
"""(rule, prior rules, whether they cover it): for any scorer that reads English."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Example: Calibration(auc=0.97, covered=0.91, uncovered=0.12, pairs=12)."""

    auc: float
    """Chance that a covered pair is scored above an uncovered one; 0.5 is guessing."""
    covered: float
    """Mean probability of yes over the covered pairs."""
    uncovered: float
    pairs: int


def calibrate(coverage: Coverage, pairs: Sequence[tuple[str, Sequence[str], bool]] = CALIBRATION) -> Calibration:
    """Raises PipelineError for a scorer that cannot tell covered from uncovered: its gaps would mean nothing."""
    scores = coverage([(rule, prior) for rule, prior, _ in pairs])
    yes = [score for score, (_, _, truth) in zip(scores, pairs, strict=True) if truth]
    no = [score for score, (_, _, truth) in zip(scores, pairs, strict=True) if not truth]
    auc = mean((a > b) + 0.5 * (a == b) for a in yes for b in no)
    found = Calibration(auc=auc, covered=mean(yes), uncovered=mean(no), pairs=len(scores))
    if auc < LEAST_AUC or found.covered - found.uncovered < LEAST_MARGIN:
        raise PipelineError(
            f"the coverage scorer cannot tell covered rules from uncovered ones: AUC {auc:.2f} (at least {LEAST_AUC}), "
            f"mean yes {found.covered:.2f} against {found.uncovered:.2f} (at least {LEAST_MARGIN} apart) on "
            f"{len(scores)} pairs",
            remedy="choose another scorer (`coverage`), or `enabled: false` to train without the gap",
        )
    return found


def log_gaps(rules: Sequence[Sequence[str]], prior: Sequence[Sequence[str]], coverage: Coverage) -> list[float]:
    """Of each log, the minimum over its rules; a log whose query suggested nothing has gap 1, unasked."""
    asked = [(at, rule) for at, found in enumerate(rules) for rule in found if prior[at]]
    scores = coverage([(rule, prior[at]) for at, rule in asked]) if asked else []
    gaps = [1.0] * len(rules)
    for (at, _), score in zip(asked, scores, strict=True):
        gaps[at] = min(gaps[at], 1.0 - score)
    return gaps


def cluster_gaps(gaps: Sequence[float], labels: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Cluster -> mean gap and how many logs it is over."""
    found: dict[int, dict[str, Any]] = {}
    for cluster in sorted(set(labels)):
        own = [gap for gap, label in zip(gaps, labels, strict=True) if label == cluster]
        found[cluster] = {"gap": mean(own), "logs": len(own)}
    return found


def load_gaps(folder: Path | None) -> dict[int, float]:
    """Cluster -> gap; empty where none was measured."""
    if folder is None:
        return {}
    values = json.loads((folder / GAP_FILE).read_text(encoding="utf-8"))
    return {int(cluster): entry["gap"] for cluster, entry in values["clusters"].items()}
