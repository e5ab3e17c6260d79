"""A checkpoint as a plain Hugging Face folder with a model card, here or on the hub."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

import jinja2

from reasoning_pipeline.base.files import storage_message, storage_remedy
from reasoning_pipeline.base.fingerprint import file_digest
from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.models.outside import model_files, require_weights
from reasoning_pipeline.registry.lineage import lineage_of, lineage_text, scores_of
from reasoning_pipeline.registry.record import RECORD, Record, distinct_labels, require_unedited
from reasoning_pipeline.registry.store import Artifact, Registry

TEMPLATES = Path(__file__).parent / "templates"
OURS = (RECORD, "probe.json")
"""Files of an artifact that mean nothing outside a registry."""


def export(registry: Registry, artifact: Artifact, folder: Path) -> list[str]:
    """Write model, tokenizer and README.md to `folder`, all or nothing; the names of its files.

    Raises:
        RegistryError: Not a checkpoint, a file that differs from its record, a folder that holds something already.
    """
    if artifact.record.kind != "checkpoint":
        raise RegistryError(f"{artifact.name}: holds {artifact.record.kind}, no checkpoint", remedy="name a checkpoint")
    require_weights(artifact.folder)
    require_unedited(artifact.folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RegistryError(f"{folder}: holds something already", remedy="give a new folder")
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        aside.mkdir(parents=True)
        for path in model_files(artifact.folder):
            if path.name not in OURS:
                shutil.copyfile(path, aside / path.name)
                _require_recorded(artifact, aside / path.name)
        (aside / "README.md").write_text(model_card(registry, artifact), encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
    except OSError as error:
        raise RegistryError(
            storage_message(error, str(folder), "written"), remedy=storage_remedy(error, "the artifact is untouched")
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return sorted(path.name for path in folder.iterdir())


def push(registry: Registry, artifact: Artifact, repository: str, *, private: bool = False) -> str:
    """Export a checkpoint to the hub; its address there.

    Raises:
        RegistryError: No network, no token, no permission; says which. Nothing of the registry changes.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        export(registry, artifact, folder)
        try:
            api = HfApi()
            created = api.create_repo(repository, private=private, exist_ok=True, repo_type="model")
            message = f"{artifact.record.recipe}/{artifact.record.step} ({artifact.name})"
            api.upload_folder(folder_path=folder, repo_id=repository, repo_type="model", commit_message=message)
        except Exception as error:  # the hub client raises many kinds; each means: not pushed
            raise RegistryError(
                f"{repository}: could not be pushed to the hub ({type(error).__name__}: {error})", remedy=_remedy(error)
            ) from error
    return str(created)


def model_card(registry: Registry, artifact: Artifact) -> str:
    """README.md of an exported checkpoint, from its record and its evaluations' records."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )  # Markdown: cells are escaped one by one
    environment.filters |= {"cell": _cell, "percent": _percent, "interval": _interval}
    record = artifact.record
    return environment.get_template("model_card.md.jinja").render(
        record=record,
        lineage=lineage_text(registry, artifact),
        steps=len(lineage_of(registry, artifact).artifacts()),
        spends=[spend for spend in record.label_spend if spend.labels],
        labels=f"{distinct_labels(record.label_spend):,}",
        scores=scores_of(registry, artifact.name),
        provenance=list(_provenance_rows(record)),
    )


def _provenance_rows(record: Record) -> list[tuple[str, str]]:
    found, result = record.provenance, record.result
    code, hardware = found.get("code") or {}, found.get("hardware") or {}
    versions = ", ".join(f"{name} {version}" for name, version in (found.get("packages") or {}).items())
    machine = ", ".join(hardware.get("gpus") or []) or f"{hardware.get('cpus')} cores of {hardware.get('cpu')}"
    rows = {
        "made": record.created,
        "code": f"{code.get('commit', 'unknown')}{' with changes' if code.get('dirty') else ''}",
        "command": found.get("command"),
        "packages": versions,
        "hardware": machine if hardware else None,
        "wall time of the last step, s": found.get("wall_seconds"),
        "CPU hours of the last step": found.get("cpu_hours"),
        "GPU hours of the last step": found.get("gpu_hours") or None,
        "tokens generated in the last step": result.get("tokens_generated"),
        "tokens trained in the last step": result.get("tokens_seen"),
    }
    return [(name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in rows.items() if value]


def _require_recorded(artifact: Artifact, copy: Path) -> None:
    entry = artifact.record.files.get(copy.name)
    if entry is None or file_digest(copy) != entry.sha256:
        raise RegistryError(
            f"{artifact.name}/{copy.name}: content differs from its record",
            remedy=f"`{PIPELINE} verify` names all that differs; nothing was exported",
        )


def _remedy(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    unauthorized, forbidden = 401, 403
    if status == unauthorized or type(error).__name__ == "LocalTokenNotFoundError":
        return "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
    if status == forbidden:
        return "use a token that may write to this name"
    return "check the network (and HF_HUB_OFFLINE), or `export` here and upload the folder from elsewhere"


def _cell(value: Any) -> str:
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _interval(value: list[float] | None) -> str:
    return "–" if not value else f"{value[0]:.1%} to {value[1]:.1%}"
