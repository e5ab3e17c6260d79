"""What is published: a recommender that needs nothing else to be evaluated, served, or tuned further.

    config.json             what it is (settings.py, `About`)
    model.safetensors       weights; vectors and counts of the items; centroids of the profile's clusters
    items.jsonl             the catalogue: the id map
    histories.jsonl         users with something to foretell: real items alone

No torch here: popularity and title cosine are recommenders too, and serving loads torch only for a trained one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.workflows.recommendation.histories import Histories
from reasoning_pipeline.workflows.recommendation.settings import ARCHITECTURE, About

if TYPE_CHECKING:
    from reasoning_pipeline.workflows.recommendation.sasrec import Trained


@dataclass(frozen=True)
class Scorer:
    """Whatever ranks items here: a score is the product of a user's vector and an item's.

    Phase 2's sum h·E + h'·E is (h + h')·E, popularity a vector of one number: nothing needs another form.
    """

    queries: Callable[[Sequence[tuple[int, ...]], Sequence[int]], np.ndarray]
    """Histories, and the domain asked for in each -> [users, D]."""
    items_ND: np.ndarray


def popularity(counts_N: np.ndarray) -> Scorer:
    counts_N1 = counts_N[:, None].astype(np.float32)
    return Scorer(lambda histories, domains: np.ones((len(histories), 1), np.float32), counts_N1)


def title_cosine(vectors_NX: np.ndarray) -> Scorer:
    """Untrained: cosine to the mean of the history's titles."""
    return Scorer(lambda histories, domains: np.stack([vectors_NX[list(h)].mean(0) for h in histories]), vectors_NX)


@dataclass(frozen=True)
class Bundle:
    about: About
    histories: Histories
    text_NX: np.ndarray
    counts_N: np.ndarray
    centroids_KX: np.ndarray
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    """By the names of sasrec.py's modules."""

    def save(self, folder: Path) -> None:
        parts = {"text": self.text_NX.astype(np.float16), "counts": self.counts_N, "centroids": self.centroids_KX}
        tensors = {f"items.{name}": tensor for name, tensor in parts.items()} | self.weights
        contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        save_file(contiguous, folder / "model.safetensors")
        write_json(folder / "config.json", self.about.model_dump(mode="json"))
        self.histories.with_users(user for user in self.histories.users if user.split != "train").save(folder)

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Raises RegistryError where the folder is not such a bundle."""
        if not is_recommender(folder):
            raise RegistryError(
                f"{folder.name} is no recommender", remedy="name a checkpoint of pretrain_recommender or tune_domains"
            )
        try:
            about = About.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
        except ValidationError as error:
            raise RegistryError(f"{folder.name}/config.json: {error.errors()[0]['msg']}") from error
        weights = load_file(folder / "model.safetensors")
        text, counts, centroids = (weights.pop(f"items.{name}") for name in ("text", "counts", "centroids"))
        return cls(about, Histories.load(folder), text.astype(np.float32), counts, centroids, weights)

    def trained(self) -> Trained:
        """Raises RegistryError where there is no trained backbone: phase 2 never starts from a random one."""
        if self.about.kind != "sasrec" or self.about.size is None:
            raise RegistryError(
                f"a {self.about.kind} recommender has no pretrained backbone",
                remedy="let `policy` name a pretrain_recommender step",
            )
        from reasoning_pipeline.workflows.recommendation.sasrec import Trained

        return Trained.of(self.about, self.about.size, self.histories.domain_N, self.weights)

    def scorer(self) -> Scorer:
        if self.about.kind == "popularity":
            return popularity(self.counts_N)
        if self.about.kind == "title_cosine":
            return title_cosine(self.text_NX)
        trained = self.trained()
        return Scorer(trained.queries, trained.item_vectors[1:].numpy())

    def top(
        self, history: Sequence[int], domains: Sequence[int], count: int, scorer: Scorer
    ) -> list[list[tuple[int, float]]]:
        """Of each domain the best items that are not in the history, with their scores, best first."""
        found = []
        queries = scorer.queries([tuple(history)] * len(domains), domains)
        for domain, scores in zip(domains, queries @ scorer.items_ND.T, strict=True):
            scores[list(history)] = -np.inf
            places = self.histories.places[domain]
            near = scores[places]
            best = places[np.argpartition(-near, min(count, len(near) - 1))[:count]]
            order = sorted(best.tolist(), key=lambda item: (-scores[item], item))
            found.append([(item, float(scores[item])) for item in order if np.isfinite(scores[item])])
        return found


def is_recommender(folder: Path) -> bool:
    """Whether a model folder holds one of ours; reads its config alone."""
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and values.get("architectures") == [ARCHITECTURE]
