"""From what a person types (artifact, step's output, folder, hub name) to a folder with a model in it."""

from __future__ import annotations

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


def resolve_model(reference: str, root: Path | None = None) -> ResolvedModel:
    """Find a model by artifact name or unique prefix (`extra_rl-9c1b`), by step name (`polish`, where one checkpoint
    of the registry comes from a step so named), by folder, or by hub name (`Qwen/Qwen3-1.7B`, `…@revision`).

    Raises:
        RegistryError: Nothing or more than one thing fits, or the folder holds no weights.
    """
    root = root or DEFAULT_ROOT
    registry = Registry(root)
    path = Path(reference).expanduser()
    if path.is_dir():
        return _from_folder(path, root)
    matches = [a for a in registry.artifacts() if a.record.kind == "checkpoint" and _fits(a, reference)]
    if len(matches) == 1:
        return _from_artifact(matches[0])
    if matches:
        names = ", ".join(f"{a.name} ({a.record.recipe}/{a.record.step})" for a in matches)
        raise RegistryError(f"{reference!r} fits {len(matches)} checkpoints: {names}", remedy="name one of them")
    if reference.count("/") == 1 and not reference.startswith((".", "/", "~")):
        return _from_hub(reference)
    known = [name for a in registry.artifacts() if a.record.kind == "checkpoint" for name in (a.name, a.record.step)]
    raise RegistryError(
        f"{reference!r} is no checkpoint in {registry.folder}, no folder and no hub name{suggestion(reference, known)}",
        remedy=f"`{PIPELINE} show` lists what there is",
    )


def _fits(artifact: Artifact, reference: str) -> bool:
    return reference in (artifact.record.step, f"{artifact.record.recipe}/{artifact.record.step}") or (
        len(reference) > len(artifact.record.stage) and artifact.name.startswith(reference)
    )


def _from_artifact(artifact: Artifact) -> ResolvedModel:
    require_weights(artifact.folder)
    require_unedited(artifact.folder)
    return ResolvedModel(
        folder=artifact.folder,
        name=f"{artifact.record.step} ({artifact.name})",
        fingerprint=artifact.record.fingerprint,
        prompt=None if artifact.record.stage == IMPORTED else PromptConfig.model_validate(artifact.record.prompt),
    )


def _from_folder(folder: Path, root: Path) -> ResolvedModel:
    if (folder / RECORD).is_file():
        artifact = Artifact(folder, read_record(folder))
        if artifact.record.kind != "checkpoint":
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
