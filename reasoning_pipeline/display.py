"""Tables and trees on the terminal: the registry, one artifact with its lineage, two artifacts side by side."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.registry.differences import differences
from reasoning_pipeline.registry.lineage import lineage_text
from reasoning_pipeline.registry.record import distinct_labels, read_record
from reasoning_pipeline.registry.removal import Removable
from reasoning_pipeline.registry.store import Artifact, Registry
from reasoning_pipeline.run.progress import summary

NOT_COMPARED = {"files", "record_digest", "created", "fingerprint", "identity"}
"""Parts of a record that differ between any two artifacts and say nothing by themselves."""


def find_artifact(registry: Registry, name: str) -> Artifact:
    """By folder name, a unique beginning of it, or the name of the step that made it. Raises RegistryError."""
    artifacts = list(registry.artifacts())
    matches = [a for a in artifacts if name in (a.name, a.record.step, f"{a.record.recipe}/{a.record.step}")]
    matches = matches or [a for a in artifacts if a.name.startswith(name)]
    if len(matches) != 1:
        found = ", ".join(a.name for a in matches) or "nothing"
        known = [word for a in artifacts for word in (a.name, a.record.step)]
        raise RegistryError(
            f"{name!r} fits {found}{'' if matches else suggestion(name, known)}",
            remedy="`python -m reasoning_pipeline show` lists what there is",
        )
    return matches[0]


def print_artifacts(registry: Registry, *, verify: bool) -> int:
    """Every artifact, oldest first. With `verify`, exit status 1 if any file differs from its record."""
    console = Console()
    table = Table(box=None, pad_edge=False)
    for heading in ("artifact", "made by", "reads", "labels", "result", *(["files"] if verify else [])):
        table.add_column(heading, overflow="fold", no_wrap=heading == "artifact")
    problems: list[str] = []
    artifacts = list(registry.artifacts())
    if not artifacts:
        console.print(f"nothing is published in {registry.folder} yet", highlight=False, markup=False, soft_wrap=True)
        return 0
    for artifact in artifacts:
        found = registry.verify(artifact) if verify else []
        problems += found
        record = artifact.record
        reads = ", ".join(entry.artifact or entry.reference for entry in record.inputs.values())
        count = distinct_labels(record.label_spend)
        row = [artifact.name, f"{record.recipe}/{record.step}", reads or "–", f"{count:,}" if count else "–"]
        files = [f"{len(found)} differ" if found else "ok"] if verify else []
        table.add_row(*map(escape, (*row, summary(record.result)[2:], *files)))
    console.print(table)
    return _print_problems(problems)


def print_artifact(registry: Registry, name: str, *, verify: bool) -> int:
    """One artifact: lineage as a tree, then its record's figures."""
    console = Console(highlight=False, soft_wrap=True)
    artifact = find_artifact(registry, name)
    record = artifact.record
    console.print(lineage_text(registry, artifact, scores=True), markup=False)
    console.print(f"\nfolder   {artifact.folder}\ncreated  {record.created}", markup=False)
    for key, value in record.result.items():
        console.print(f"{key:<16} {value}", markup=False)
    for key, value in record.provenance.items():
        if not isinstance(value, dict) and value is not None:
            console.print(f"{key:<16} {value}", markup=False)
    return _print_problems(registry.verify(artifact) if verify else [])


def print_difference(registry: Registry, first: str, second: str) -> int:
    """Two records field by field; exit status 1 where anything but their times differs."""
    console = Console(highlight=False)
    one, other = (find_artifact(registry, name) for name in (first, second))
    found = list(
        differences(
            one.record.model_dump(mode="json", exclude=NOT_COMPARED),
            other.record.model_dump(mode="json", exclude=NOT_COMPARED),
        )
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("field", one.name, other.name):
        table.add_column(heading, overflow="fold")
    for change in found:
        table.add_row(*map(escape, (change.field, change.old, change.new)))
    files = {
        name
        for name in (*one.record.files, *other.record.files)
        if one.record.files.get(name) != other.record.files.get(name)
    }
    console.print(table if found else "the records say the same")
    console.print(f"files that differ: {', '.join(sorted(files)) or 'none'}", markup=False, soft_wrap=True)
    return 1 if found or files else 0


def print_verification(registry: Registry, names: list[str]) -> int:
    """Hash every file again, with a bar on a terminal; a line per difference; exit status 1 if there is any."""
    problems, artifacts = [], []
    if names:
        artifacts = [find_artifact(registry, name) for name in names]
    for folder in registry.folders() if not names else ():
        try:
            artifacts.append(Artifact(folder, read_record(folder)))
        except RegistryError as error:  # the others are looked at all the same
            problems.append(str(error))
    total = sum(artifact.bytes for artifact in artifacts)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("verifying", total=total)
        for artifact in artifacts:
            problems += registry.verify(artifact, lambda done: progress.advance(task, done))
    looked_at = f"{len(artifacts):,} artifact{'s' if len(artifacts) != 1 else ''}, {readable_bytes(total)}"
    Console(highlight=False).print(f"{looked_at}: {f'{len(problems)} differences' if problems else 'all well'}")
    return _print_problems(problems)


def print_removable(items: list[Removable]) -> None:
    """What would go, with sizes, and the sum."""
    table = Table(box=None, pad_edge=False)
    for heading in ("folder", "bytes", "made by"):
        table.add_column(
            heading, overflow="fold", no_wrap=heading == "folder", justify="right" if heading == "bytes" else "left"
        )
    for item in items:
        place = f"{item.folder.parent.name}/{item.folder.name}"
        table.add_row(*map(escape, (place, readable_bytes(item.bytes), item.why)))
    console = Console(highlight=False)
    if items:
        console.print(table)
    total = readable_bytes(sum(item.bytes for item in items))
    console.print(f"{len(items)} removable, {total}" if items else "nothing is removable", soft_wrap=True)


def readable_bytes(count: int) -> str:
    """`512 B`, `3.4 MB`, `1.2 GB` (powers of 1,000)."""
    size, thousand = float(count), 1000
    for unit in ("B", "kB", "MB", "GB"):
        if size < thousand:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= thousand
    return f"{size:.1f} TB"


def _print_problems(problems: list[str]) -> int:
    console = Console(highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(f"error: {problem}", style="red", markup=False)
    return 1 if problems else 0
