"""What makes a step the one it is: its experiment, what it reads, and the code and files that it brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.fingerprint import digest, file_digest
from reasoning_pipeline.base.validation import no_file
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.plan.graph import PlannedInput
from reasoning_pipeline.plan.ledger import Ledger
from reasoning_pipeline.recipe.model import Recipe
from reasoning_pipeline.recipe.stage import File, Input, Measures, Prompts, Reads, Spends, StageConfig, fields_marked
from reasoning_pipeline.recipe.workflows import own_stage
from reasoning_pipeline.records import Problem


class Identities:
    """Identities of one recipe's steps, under all arms and seeds; each file that it names is read once.

    Args:
        contents: Reference -> what the fingerprint of a model from outside was computed from.
    """

    def __init__(self, recipe: Recipe, contents: Mapping[str, Any]) -> None:
        self.recipe, self._contents = recipe, contents
        self._prompt = recipe.prompt.model_dump(mode="json")
        self._known: dict[Any, tuple[StageConfig, tuple[dict[str, Any], str]]] = {}
        self._digests: dict[Path, str] = {}

    def of(
        self, recipe: Recipe, ledger: Ledger, config: StageConfig, inputs: tuple[PlannedInput, ...]
    ) -> tuple[dict[str, Any], str]:
        """(identity, fingerprint) of a step. Raises RecipeError where a file that it names is missing.

        Args:
            recipe: Of the arm and seed that are planned.
        """
        # Arms share the objects of the steps that they do not change, so most of them are looked up here.
        key = (id(config), recipe.seed, tuple(entry.fingerprint for entry in inputs))
        if key not in self._known:
            identity = self._identity(ledger, config, inputs)
            self._known[key] = (
                config,
                (identity, digest(identity)),
            )  # the config is kept, so that its id stays its own
        return self._known[key][1]

    def _identity(self, ledger: Ledger, config: StageConfig, inputs: tuple[PlannedInput, ...]) -> dict[str, Any]:
        identity: dict[str, Any] = {
            "stage": config.stage,
            "stage_version": type(config).version,
            "config": _experiment(config),
            "inputs": {entry.field: entry.fingerprint for entry in inputs},
            "prompt": self._prompt,
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
        contents = {entry.field: self._contents.get(entry.reference) for entry in inputs}
        outside = {field: found for field, found in contents.items() if found is not None}
        identity |= {"problems": problems} if problems else {}
        identity |= {"outside": outside} if outside else {}
        identity |= {"brings": brings} if (brings := config.brings()) else {}
        if (code := own_stage(config.stage)) is not None:
            identity["code"] = self._files(config.stage, str(code))
        for field, mark in fields_marked(type(config), File).items():
            if named := getattr(config, field):
                digests = self._files(f"{config.stage}.{field}", named)
                if mark.part is not None:
                    identity[mark.part] = digests
                else:
                    identity.setdefault("files", {})[field] = digests
        return identity

    def _files(self, place: str, named: str | Sequence[str] | dict[str, str]) -> Any:
        """Digests of the files that a field names, in the field's own form."""
        if isinstance(named, dict):
            return {name: self._files(f"{place}.{name}", path) for name, path in named.items()}
        if not isinstance(named, str):
            return [self._files(place, path) for path in named]
        path = self.recipe.folder / Path(named).expanduser()
        if path not in self._digests:
            if not path.is_file():
                raise RecipeError(str(self.recipe.path), [f"{place}: {no_file(named, path)}"])
            self._digests[path] = file_digest(path)
        return self._digests[path]


def _experiment(config: StageConfig) -> dict[str, Any]:
    """The config's values that are the experiment: references and paths are replaced by what they point to."""
    hidden = {"stage", *fields_marked(type(config), Input), *fields_marked(type(config), File), "save_every"}
    return config.model_dump(mode="json", exclude=hidden)


def _set_of(problems: list[Problem], identity: str) -> dict[str, Any]:
    """A set of problems as an identity holds it; the count is for people."""
    return {"count": len(problems), "digest": identity}
