"""A published system outside of a plan: `serve NAME` and `python -m evals NAME --suite user_logs`."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.registry.resolve import ResolvedModel
from reasoning_pipeline.run.uses import Use
from reasoning_pipeline.workflows.user_logs.evaluation import ask, evaluated
from reasoning_pipeline.workflows.user_logs.in_recipe import ScoreSystems, ScoreSystemsSection
from reasoning_pipeline.workflows.user_logs.opening import opened_judge, opened_system
from reasoning_pipeline.workflows.user_logs.roles import Judge
from reasoning_pipeline.workflows.user_logs.scoring import SUITE, Scoring
from reasoning_pipeline.workflows.user_logs.system import SYSTEM_FILE, System


class Answering(Use):
    """What `choose_modules` publishes."""

    kind: ClassVar[str] = "system"
    suite: ClassVar[str] = SUITE
    options: ClassVar[tuple[str, ...]] = ("data", "limit", "recipe")

    def knows(self, folder: Path) -> bool:
        return (folder / SYSTEM_FILE).is_file()

    def evaluate(
        self,
        model: ResolvedModel,
        out: Path,
        *,
        profile: HardwareProfile,
        seed: int,
        data: Path | None = None,
        limit: int | None = None,
        recipe: str | None = None,
    ) -> str:
        """Queries and scorer are those of the recipe's `score_systems`, and the queries those of `data` where it is
        given; without either, the small world's own.

        Raises:
            DataError: There is nothing to ask, or nobody to score it.
        """
        scoring, folder = _in_recipe(recipe)
        if data is not None:
            folder, changed = Path(), {"file": str(data), "hub": None, "count": limit or sys.maxsize}
            scoring = scoring.model_copy(update=changed)
        elif limit is not None:
            scoring = scoring.model_copy(update={"count": limit})
        if scoring.file is None and scoring.hub is None:
            _knows_the_small_world(model)
        queries = scoring.queries(folder)
        with opened_system(model.folder, profile, model.prompt) as (system, speaker):
            asked = ask(system, speaker, queries, seed)
        judging: AbstractContextManager[Judge | None] = nullcontext()
        if scoring.judge is not None:  # only now, when the system's own server has left the device
            judging = opened_judge(scoring.judge, system, scoring.judging, profile, model.prompt, seed=seed)
        with judging as referee:
            found = evaluated(asked, referee, tokens=speaker.tokens)
        found.save(out)
        told = {"checkpoint": model.name, "fingerprint": model.fingerprint, "scoring": scoring.model_dump(mode="json")}
        write_json(out / f"{SUITE}.json", found.figures | told)
        return found.told()

    def serve(self, model: ResolvedModel, *, profile: HardwareProfile, host: str, port: int | None, key: str) -> None:
        from reasoning_pipeline.workflows.user_logs.serving import serve

        serve(model.folder, profile, model.prompt, host=host, port=port, key=key)


def _in_recipe(recipe: str | None) -> tuple[Scoring, Path]:
    """What a recipe says of scoring, and the folder that its file is in."""
    if recipe is None:
        return Scoring(), Path()
    read = load_recipe(recipe)
    scoring: ScoreSystems | None = read.sections.get(ScoreSystemsSection.key)
    if scoring is None:
        raise DataError(
            f"--recipe {recipe}: it has no `score_systems`, so it says neither what is asked nor who scores",
            remedy="add `score_systems: {file: …}` or `{hub: …, judge: …}`, or give --data FILE with checks alone",
        )
    return scoring, read.folder


def _knows_the_small_world(model: ResolvedModel) -> None:
    language = System.load(model.folder).values.get("language", "small")
    if language != "small":
        raise DataError(
            f"{model.name} learned from logs in {language!r}, and the queries of the small world say nothing of it",
            remedy="give --data FILE with queries of yours, or --recipe RECIPE with `score_systems`",
        )


CONTRIBUTES = (Answering(),)
