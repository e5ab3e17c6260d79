"""From what a person types (artifact, step's output, folder, hub name) to a folder with a model in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.models.outside import folder_digests, hub_folder, require_weights
from reasoning_pipeline.registry.record import IMPORTED, RECORD, read_record, require_unedited
from reasoning_pipeline.registry.store import Artifact, Registry

DEFAULT_ROOT = Path("runs")


@dataclass(frozen=True)
class ResolvedModel:
    """A model folder and what is known of it.

    Example:
        ResolvedModel(folder=Path("runs/registry/extra_rl-9c1b…"), name="polish (extra_rl-9c1b…)", fingerprint="9c1b…",
                      prompt=PromptConfig())
    """

    folder: Path
    name: str
    fingerprint: str
    prompt: PromptConfig | None
    contents: dict[str, str] | None = None
    """Of a model from outside: what its fingerprint was computed from (files' digests, or hub name and commit)."""


def resolve_model(
    reference: str, root: Path | None = None, *, newest: bool = True, kinds: Sequence[str] = ("checkpoint",)
) -> ResolvedModel:
    """Find a model by artifact name or unique prefix (`extra_rl-9c1b`), by step name (`polish`, see `named`), by
    folder, or by hub name (`Qwen/Qwen3-1.7B`, `…@revision`).

    Args:
        newest: Of several that a step has made, take the newest. A recipe refuses instead: what it reads must not
            depend on what was run since.
        kinds: Of artifacts that may be meant (run/uses.py knows more than checkpoints).

    Raises:
        RegistryError: Nothing or more than one thing fits, or the folder holds no weights.
    """
    root = root or DEFAULT_ROOT
    registry = Registry(root)
    path = Path(reference).expanduser()
    if path.is_dir():
        return _from_folder(path, root, kinds)
    checkpoints = [a for a in registry.artifacts([]) if a.record.kind in kinds]
    if (found := named(checkpoints, reference, newest=newest)) is not None:
        return _from_artifact(found)
    if reference.count("/") == 1 and not reference.startswith((".", "/", "~")):
        return _from_hub(reference)
    known = [name for a in checkpoints for name in (a.name, a.record.step)]
    raise RegistryError(
        f"{reference!r} is no checkpoint in {registry.folder}, no folder and no hub name{suggestion(reference, known)}",
        remedy=f"`{PIPELINE} show` lists what there is",
    )


def named(artifacts: Sequence[Artifact], name: str, *, newest: bool = True) -> Artifact | None:
    """The one artifact that a person means; None where nothing fits.

    A folder's name or a unique beginning of it; else the name of a step (`polish`, `arithmetic/polish`): of several
    that the step has made, the newest, and with `@2` the one before it, `@3` the one before that.

    Raises:
        RegistryError: Steps of several recipes have the name, or several folders begin so.
    """
    if exact := [a for a in artifacts if a.name == name]:
        return exact[0]
    made = [a for a in artifacts if name in (a.record.step, f"{a.record.recipe}/{a.record.step}")]
    back, plain = 1, name
    if not made and (counted := re.fullmatch(r"(.+)@([1-9]\d{0,3})", name)):
        plain, back = counted[1], int(counted[2])
        made = [a for a in artifacts if plain in (a.record.step, f"{a.record.recipe}/{a.record.step}")]
    if made:
        made.sort(key=lambda a: (a.record.created, a.name), reverse=True)
        recipes = sorted({a.record.recipe for a in made})
        if len(recipes) > 1:
            choices = ", ".join(f"{recipe}/{plain}" for recipe in recipes)
            raise RegistryError(f"{plain!r} is a step of {len(recipes)} recipes", remedy=f"name one of: {choices}")
        if back > len(made):
            raise RegistryError(
                f"{plain} was made {_times(len(made))}, so there is no {name}",
                remedy=f"name {plain}@{len(made)} or newer",
            )
        if len(made) > 1 and not newest:
            raise RegistryError(f"{name!r} was made {_times(len(made))}: {_choices(made)}", remedy="name one of them")
        return made[back - 1]
    if of_stage := [a for a in artifacts if a.record.stage == name]:  # one alone would be a guess, too
        raise RegistryError(f"{name!r} is a stage, which made {_choices(of_stage)}", remedy="name one of them")
    begins = [a for a in artifacts if len(name) > len(a.record.stage) and a.name.startswith(name)]
    if len(begins) > 1:
        raise RegistryError(f"{name!r} fits {len(begins)} artifacts: {_choices(begins)}", remedy="name one of them")
    return begins[0] if begins else None


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _choices(artifacts: Sequence[Artifact]) -> str:
    return ", ".join(
        f"{a.name} ({a.record.recipe}/{a.record.step}, {a.record.created[:16].replace('T', ' ')})" for a in artifacts
    )


def _from_artifact(artifact: Artifact) -> ResolvedModel:
    if artifact.record.kind == "checkpoint":  # of other kinds whoever knows them says what they need
        require_weights(artifact.folder)
    require_unedited(artifact.folder)
    return ResolvedModel(
        folder=artifact.folder,
        name=f"{artifact.record.step} ({artifact.name})",
        fingerprint=artifact.record.fingerprint,
        prompt=None if artifact.record.stage == IMPORTED else PromptConfig.model_validate(artifact.record.prompt),
    )


def _from_folder(folder: Path, root: Path, kinds: Sequence[str]) -> ResolvedModel:
    if (folder / RECORD).is_file():
        artifact = Artifact(folder, read_record(folder))
        if artifact.record.kind not in kinds:
            raise RegistryError(f"{folder}: holds {artifact.record.kind}, not a checkpoint", remedy="name a checkpoint")
        return _from_artifact(artifact)
    require_weights(folder)
    contents = folder_digests(folder, root)
    return ResolvedModel(folder=folder, name=folder.name, fingerprint=digest(contents), prompt=None, contents=contents)


def _from_hub(reference: str) -> ResolvedModel:
    name, folder = reference.partition("@")[0], hub_folder(reference)
    require_weights(folder)
    # The snapshot folder is named after the commit, so a moved branch is a new identity.
    contents = {"model": name, "commit": folder.name}
    return ResolvedModel(
        folder=folder, name=name, fingerprint=digest(["hub", *contents.values()]), prompt=None, contents=contents
    )
