"""Bringing in what this registry did not make: a model folder, a hub model, an artifact or a whole other registry."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.files import contents, rename_folder, storage_message, storage_remedy, sync
from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.models.outside import folder_digests, model_files
from reasoning_pipeline.registry.record import IMPORTED, RECORD, Record, Spend, now, read_record
from reasoning_pipeline.registry.resolve import ResolvedModel, resolve_model
from reasoning_pipeline.registry.store import Artifact, Registry

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def import_model(
    registry: Registry, source: str, *, name: str | None = None, labels_spent: int = 0, note: str = ""
) -> Artifact:
    """Copy a model from outside into the registry, where recipes can refer to it by name.

    Args:
        source: A folder, or a hub name with or without `@revision`.
        name: What recipes will call it; the last part of `source` where it is not given.
        labels_spent: Checked answers known to be behind it; they count in every lineage that begins here.
        note: Where it comes from, in the person's own words; kept in the record.

    Raises:
        RegistryError: No weights as safetensors, a damaged file, a name that is taken, or the same model under another
            declaration.
    """
    model = resolve_model(source, registry.root)
    plain = (name or Path(source.partition("@")[0]).name).lower()
    if not NAME.fullmatch(plain):
        raise RegistryError(f"{plain!r} is no name", remedy="give one with --name: small letters, digits, . _ -")
    for path in model_files(model.folder):
        if path.suffix == ".safetensors":
            _require_readable(path)
    files = folder_digests(model.folder)
    identity = {"stage": IMPORTED, "files": files}
    fingerprint = digest(identity)
    spend = [Spend(step=plain, pool=f"behind {plain}", labels=labels_spent)] if labels_spent else []
    existing = registry.find(IMPORTED, fingerprint)
    if existing is not None:
        if (existing.record.step, existing.record.label_spend) != (plain, spend):
            raise RegistryError(
                f"{existing.name}: the same model was imported as {existing.record.step!r}, with "
                f"{sum(entry.labels for entry in existing.record.label_spend):,} labels behind it",
                remedy="use that name; a declaration is changed by removing the folder and importing again",
            )
        return existing
    _require_free(registry, plain)
    record = Record(
        kind="checkpoint",
        stage=IMPORTED,
        step=plain,
        recipe=IMPORTED,
        fingerprint=fingerprint,
        config={"source": _source(source, model), "labels_spent": labels_spent, "note": note},
        identity=identity,
        label_spend=spend,
        created=now(),
        files={},
    )
    aside = _aside(registry)
    try:
        for path in model_files(model.folder):
            shutil.copyfile(path, aside / path.name)
        artifact = registry.publish(aside, record)
    except OSError as error:
        raise _refused(error, plain) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if registry.verify(artifact) or {n: e.sha256 for n, e in artifact.record.files.items()} != files:
        raise RegistryError(f"{source}: changed while it was copied", remedy=f"remove {artifact.name} and import again")
    return artifact


def artifacts_of(source: Path) -> list[Path]:
    """The artifacts in a folder that is an artifact, a registry or a root; empty where it is none of them."""
    if (source / RECORD).is_file():
        return [source]
    return Registry(source).folders() or Registry(source.parent).folders() if source.is_dir() else []


def merge(registry: Registry, sources: list[Path]) -> Iterator[tuple[str, str]]:
    """Copy artifacts of another registry, records and all; (name, what happened) of each.

    Raises:
        RegistryError: After all others were copied, where one is damaged or has the fingerprint of an artifact here
            and other content; names every such one.
    """
    problems = []
    for source in sources:
        artifact = Artifact(source, read_record(source))
        name = registry.artifact_name(artifact.record.stage, artifact.record.fingerprint)
        existing = registry.find(artifact.record.stage, artifact.record.fingerprint)
        if existing is not None:
            differing = _differing(existing.record, artifact.record)
            if differing:
                problems.append(f"{name}: both have this fingerprint, with different {', '.join(differing)}")
            else:
                yield name, "here already"
            continue
        if damage := registry.verify(artifact):
            problems += damage
            continue
        _copy(registry, artifact, name)
        yield name, "copied"
    if problems:
        raise RegistryError(
            "\n  ".join(["not imported:", *problems]),
            remedy="an artifact made twice is kept once: decide which, and move the other one's folder away",
        )


def _copy(registry: Registry, artifact: Artifact, name: str) -> None:
    aside = _aside(registry)
    try:
        shutil.copytree(artifact.folder, aside, symlinks=True, dirs_exist_ok=True)
        for _, path in contents(aside):
            sync(path)
        registry.folder.mkdir(parents=True, exist_ok=True)
        if not rename_folder(aside, registry.folder / name):
            raise RegistryError(f"{name}: something stands in its place", remedy="move that folder away")
        sync(registry.folder)
    except OSError as error:
        raise _refused(error, name) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _differing(here: Record, there: Record) -> list[str]:
    names = dict.fromkeys((*here.files, *there.files))
    weights = [name for name in names if here.files.get(name) != there.files.get(name)]
    # Metrics hold times of day; two that were made apart differ there and nowhere else that counts.
    return [name for name in weights if name.endswith((".safetensors", ".json", ".jinja", "rollouts.jsonl"))]


def _require_free(registry: Registry, name: str) -> None:
    for artifact in registry.artifacts():
        if artifact.record.kind == "checkpoint" and artifact.record.step == name:
            raise RegistryError(
                f"{name!r} is what {artifact.name} is called ({artifact.record.recipe}/{artifact.record.step})",
                remedy="give another name with --name",
            )


def _require_readable(path: Path) -> None:
    """The table of a safetensors file, and that the file is as long as it says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as tensors:
            tensors.keys()
    except (SafetensorError, OSError) as error:
        raise RegistryError(
            f"{path.name}: no readable safetensors file ({error})", remedy="fetch or save the model again"
        ) from error


def _source(source: str, model: ResolvedModel) -> dict[str, Any]:
    """Where it came from, without the places of this machine; of a hub model, the commit that was copied."""
    if Path(source).expanduser().is_dir():
        return {"folder": model.folder.name}
    return dict(model.contents or {})


def _aside(registry: Registry) -> Path:
    aside = registry.root / "work" / f".import-{uuid.uuid4().hex[:8]}"
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise _refused(error, str(registry.folder.name)) from error
    return aside


def _refused(error: OSError, name: str) -> RegistryError:
    return RegistryError(storage_message(error, name, "imported"), remedy=storage_remedy(error, "nothing was imported"))
