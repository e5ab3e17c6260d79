"""From what a person types (artifact, step's output, folder, hub name) to a folder with a model in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reasoning_pipeline.data.prompts import PromptConfig
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.registry.fingerprint import digest, file_digest
from reasoning_pipeline.registry.store import RECORD, Artifact, Registry, read_record
from reasoning_pipeline.validation import suggestion

DEFAULT_ROOT = Path("runs")
_WHOLE_FILE_BYTES = 16 << 20


@dataclass(frozen=True)
class ResolvedModel:
    """A model folder and what is known of it.

    Example:
        ResolvedModel(folder=Path("runs/registry/extra_rl-9c1b…"), name="polish (extra_rl-9c1b…)", fingerprint="9c1b…",
                      prompt=PromptConfig())
    """

    folder: Path
    name: str
    fingerprint: str | None
    prompt: PromptConfig | None


def resolve_model(reference: str, root: Path | None = None) -> ResolvedModel:
    """Find a model by artifact name or unique prefix (`extra_rl-9c1b`), by step name (`polish`, where one checkpoint
    of the registry comes from a step so named), by folder, or by hub name (`Qwen/Qwen3-1.7B`, `…@revision`).

    Raises:
        RegistryError: Nothing or more than one thing fits, or the folder holds no weights.
    """
    registry = Registry(root or DEFAULT_ROOT)
    path = Path(reference).expanduser()
    if path.is_dir():
        return _from_folder(path)
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
        remedy="`python -m reasoning_pipeline show` lists what there is",
    )


def require_weights(folder: Path) -> None:
    """Raises RegistryError where a model folder lacks its configuration or its weights."""
    if not folder.is_dir():
        raise RegistryError(f"{folder}: no such folder", remedy="a relative path of a recipe starts at its folder")
    if not (folder / "config.json").is_file():
        raise RegistryError(f"{folder}: no config.json", remedy="this is not a Hugging Face model folder")
    if not any(folder.glob("*.safetensors")):
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:8])
        raise RegistryError(
            f"{folder}: a model folder without weights (no *.safetensors; found {found})",
            remedy="save the model with `save_pretrained`; pickled weights are not loaded",
        )


def folder_fingerprint(folder: Path) -> str:
    """Identity of a model folder from outside: names and sizes of its files, content of all but the big ones,
    of which the beginning (which holds a safetensors file's tensor table) is read."""
    entries = []
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        size = path.stat().st_size
        if size <= _WHOLE_FILE_BYTES:
            content = file_digest(path)
        else:
            with path.open("rb") as file:
                content = file.read(1 << 20).hex()
        entries.append([path.name, size, content])
    return digest(entries)


def _fits(artifact: Artifact, reference: str) -> bool:
    return reference in (artifact.record.step, f"{artifact.record.recipe}/{artifact.record.step}") or (
        len(reference) > len(artifact.record.stage) and artifact.name.startswith(reference)
    )


def _from_artifact(artifact: Artifact) -> ResolvedModel:
    require_weights(artifact.folder)
    return ResolvedModel(
        folder=artifact.folder,
        name=f"{artifact.record.step} ({artifact.name})",
        fingerprint=artifact.record.fingerprint,
        prompt=PromptConfig.model_validate(artifact.record.prompt),
    )


def _from_folder(folder: Path) -> ResolvedModel:
    if (folder / RECORD).is_file():
        artifact = Artifact(folder, read_record(folder))
        if artifact.record.kind != "checkpoint":
            raise RegistryError(f"{folder}: holds {artifact.record.kind}, not a checkpoint", remedy="name a checkpoint")
        return _from_artifact(artifact)
    require_weights(folder)
    return ResolvedModel(folder=folder, name=folder.name, fingerprint=folder_fingerprint(folder), prompt=None)


def _from_hub(reference: str) -> ResolvedModel:
    from huggingface_hub import snapshot_download

    name, _, revision = reference.partition("@")
    try:
        folder = Path(
            snapshot_download(
                name,
                revision=revision or None,
                allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"],
            )
        )
    except Exception as error:  # the hub client raises many kinds; each means: not to be had here
        raise RegistryError(
            f"{reference!r} could not be fetched from the hub: {error}",
            remedy="prefetch it on a machine with network access, accept its licence, or give a local folder",
        ) from error
    require_weights(folder)
    # The snapshot folder is named after the commit, so a moved branch is a new identity.
    return ResolvedModel(folder=folder, name=name, fingerprint=digest([name, folder.name]), prompt=None)
