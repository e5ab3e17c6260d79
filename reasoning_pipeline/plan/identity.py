"""What a step is, as data: what decides its result and nothing else. Its digest is the step's fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.fingerprint import digest, file_digest
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.plan.graph import PlannedInput
from reasoning_pipeline.plan.ledger import Ledger
from reasoning_pipeline.recipe.model import Recipe
from reasoning_pipeline.recipe.stage import (
    File,
    Input,
    Measures,
    Prompts,
    Reads,
    Spends,
    StageConfig,
    each_file,
    fields_marked,
)
from reasoning_pipeline.records import Problem


class Identities:
    """Of the steps of one recipe, in all its arms and under all seeds; each file that it names is read once."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.prompt = recipe.prompt.model_dump(mode="json")
        self._made: dict[Any, tuple[StageConfig, tuple[dict[str, Any], str]]] = {}
        self._digests: dict[Path, str] = {}

    def of(
        self,
        seed: int,
        ledger: Ledger,
        config: StageConfig,
        inputs: tuple[PlannedInput, ...],
        contents: Mapping[str, Any],
    ) -> tuple[dict[str, Any], str]:
        """(identity, fingerprint) of a step.

        Args:
            contents: Reference -> digests of the files of a model from outside.

        Raises:
            RecipeError: A file that it names is missing.
        """
        # Arms share the objects of the steps that they do not change, so most of them are looked up here.
        key = (id(config), seed, tuple(entry.fingerprint for entry in inputs))
        if key not in self._made:
            identity = self._identity(ledger, config, inputs, contents)
            self._made[key] = config, (identity, digest(identity))  # the config is kept, so that its id stays its own
        return self._made[key][1]

    def _identity(
        self, ledger: Ledger, config: StageConfig, inputs: tuple[PlannedInput, ...], contents: Mapping[str, Any]
    ) -> dict[str, Any]:
        identity: dict[str, Any] = {
            "stage": config.stage,
            "stage_version": type(config).version,
            "config": _experiment(config),
            "inputs": {entry.field: entry.fingerprint for entry in inputs},
            "prompt": self.prompt,
        }
        problems = {
            field: {pool: _set_of(ledger.pool(pool), ledger.digest((pool,))) for pool in getattr(config, field)}
            for mark in (Spends, Prompts, Measures)
            for field in fields_marked(type(config), mark)
        }
        for field in fields_marked(type(config), Reads):
            if data := getattr(config, field):
                problems[field] = {data: _set_of(ledger.data(data), ledger.pools.questions_digest(data))}
        # Parts beyond these are there only where they say something: `why` names each by its field.
        outside = {entry.field: contents[entry.reference] for entry in inputs if contents.get(entry.reference)}
        identity |= {"problems": problems} if problems else {}
        identity |= {"outside": outside} if outside else {}
        identity |= {"brings": brings} if (brings := config.brings()) else {}
        for field, mark in fields_marked(type(config), File).items():
            if named := getattr(config, field):
                digests = each_file(named, self._file, f"{config.stage}.{field}")
                if mark.part is not None:
                    identity[mark.part] = digests
                else:
                    identity.setdefault("files", {})[field] = digests
        return identity

    def _file(self, named: str, place: str) -> str:
        """The digest of a file that a field names."""
        path = self.recipe.file(named)
        if path not in self._digests:
            if not path.is_file():
                expected = "(a relative path starts at the recipe's folder)"
                raise RecipeError(str(self.recipe.path), [f"{place}: no file {named!r} {expected}"])
            self._digests[path] = file_digest(path)
        return self._digests[path]


def _experiment(config: StageConfig) -> dict[str, Any]:
    """The config's values that are the experiment: references and paths are replaced by what they point to."""
    hidden = {"stage", *fields_marked(type(config), Input), *fields_marked(type(config), File), "save_every"}
    return config.model_dump(mode="json", exclude=hidden)


def _set_of(problems: list[Problem], identity: str) -> dict[str, Any]:
    """A set of problems as an identity holds it; the count is for people."""
    return {"count": len(problems), "digest": identity}
