"""What a published bundle's rankings come from. Torch is loaded for a trained one alone."""

from __future__ import annotations

from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.ranking import Scorer, popularity, title_cosine


def scorer_of(bundle: Bundle) -> Scorer:
    if bundle.about.kind == "popularity":
        return popularity(bundle.counts_N)
    if bundle.about.kind == "title_cosine":
        return title_cosine(bundle.text_NX)
    from reasoning_pipeline.workflows.recommendation.trained import Trained

    return Trained.of(bundle).scorer()
