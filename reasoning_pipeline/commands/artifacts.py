"""`show`, `diff`, `verify`: what is in a registry, where it came from, and whether it is still what was published."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reasoning_pipeline.base.text import ABSENT, amount, columns, console, counted
from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.commands.options import add_json_option, command, store_of

if TYPE_CHECKING:
    from reasoning_pipeline.registry.store import Artifact, Registry

ARTIFACT = "artifact name, a unique beginning of it, or a step's name: its newest, and with @2 the one before"

SHOWN_CHANGES = 3

NOT_COMPARED = {"files", "record_digest", "created", "fingerprint", "identity"}
"""Parts of a record that differ between any two artifacts and say nothing by themselves."""


def add(commands: argparse._SubParsersAction) -> None:
    show = command(commands, "show", _show)
    show.add_argument("artifact", nargs="?", help=ARTIFACT)
    show.add_argument("other", nargs="?", help="a second one: what differs between their records")
    show.add_argument("--verbose", action="store_true", help="folder names, what each was made from, every change")
    add_json_option(show)
    show.add_argument("--verify", action="store_true", help="hash every file again and compare with the records")

    diff = command(commands, "diff", _diff)
    diff.add_argument("artifact", help=ARTIFACT)
    diff.add_argument("other", help=ARTIFACT)

    verify = command(commands, "verify", _verify)
    verify.add_argument("artifacts", nargs="*", metavar="ARTIFACT", help=f"{ARTIFACT} (default: all)")


def _show(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.registry.store import Registry

    if arguments.other is not None:
        return _diff(arguments)
    registry = Registry(store_of(arguments))
    if arguments.artifact is None:
        return _print_artifacts(registry, verify=arguments.verify, verbose=arguments.verbose, as_json=arguments.json)
    artifact = find_artifact(registry, arguments.artifact)
    if arguments.json:
        print(json.dumps({"artifact": artifact.name, "record": artifact.record.model_dump(mode="json")}, indent=2))
        return 0
    return _print_artifact(registry, artifact, verify=arguments.verify)


def find_artifact(registry: Registry, name: str) -> Artifact:
    """By folder name, a unique beginning of it, or the name of the step that made it: the newest. Raises
    RegistryError."""
    from reasoning_pipeline.base.validation import suggestion
    from reasoning_pipeline.errors import RegistryError
    from reasoning_pipeline.registry.resolve import named

    artifacts = list(registry.artifacts([]))
    found = named(artifacts, name)
    if found is None:
        known = [word for a in artifacts for word in (a.name, a.record.step)]
        raise RegistryError(
            f"{name!r} fits nothing{suggestion(name, known)}", remedy=f"`{PIPELINE} show` lists what there is"
        )
    return found


def _print_artifacts(registry: Registry, *, verify: bool, verbose: bool, as_json: bool) -> int:
    """Every artifact, recipe by recipe, oldest first; below it what changed since the step made one before.

    With `verify`, exit status 1 if any file differs from its record; also where a record cannot be read.
    """
    damaged: list[str] = []
    artifacts = list(registry.artifacts(damaged))
    rows = list(_rows(artifacts))
    found = {row["artifact"]: registry.verify(a) for row, a in zip(rows, artifacts, strict=True)} if verify else {}
    problems = [problem for several in found.values() for problem in several] + damaged
    if as_json:
        verified = ({"differences": found[row["artifact"]]} if verify else {} for row in rows)
        rows = [row | more for row, more in zip(rows, verified, strict=True)]
        print(json.dumps({"artifacts": rows, "unreadable": damaged}, indent=2, ensure_ascii=False))
        return 1 if problems else 0
    if not artifacts and not damaged:
        print(f"nothing is published in {registry.folder} yet")
        return 0
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        print(recipe)
        cells = [
            [f"  {row['name']}", row["created"][:16].replace("T", " "), _labels(row["labels"]), row["summary"]]
            + ([f"{len(found[row['artifact']])} differ" if found[row["artifact"]] else "ok"] if verify else [])
            for row in rows
            if row["recipe"] == recipe
        ]
        details = [row for row in rows if row["recipe"] == recipe]
        for line, row in zip(columns(cells, right=(2,)), details, strict=True):
            print(line)
            if verbose:
                print(f"      {row['artifact']}" + (f" ← {', '.join(row['reads'].values())}" if row["reads"] else ""))
            if row["changed"]:
                shown = row["changed"] if verbose else row["changed"][:SHOWN_CHANGES]
                more = len(row["changed"]) - len(shown)
                print(f"      changed: {'; '.join(shown)}" + (f"; {more} more (--verbose)" if more else ""))
    return _print_problems(problems)


def _labels(count: int) -> str:
    return f"{count:,}" if count else ABSENT


def _rows(artifacts: list[Artifact]) -> Iterator[dict[str, Any]]:
    """What `show` says of each artifact, and all that `show --json` does."""
    from reasoning_pipeline.registry.differences import differences
    from reasoning_pipeline.registry.record import distinct_labels
    from reasoning_pipeline.run.progress import summary

    made_by = {a.name: f"{a.record.recipe}/{a.record.step}" for a in artifacts}
    newer = Counter(made_by.values())
    before: dict[str, Artifact] = {}
    for artifact in artifacts:
        record, key = artifact.record, made_by[artifact.name]
        generation = newer[key]
        newer[key] -= 1
        old = before.get(key)
        changed = differences(old.record.identity, record.identity) if old is not None else ()
        before[key], own = artifact, f"{record.recipe}/"
        yield {
            "artifact": artifact.name,
            "kind": record.kind,
            "recipe": record.recipe,
            "step": record.step,
            "name": record.step if generation == 1 else f"{record.step}@{generation}",
            "created": record.created,
            "labels": distinct_labels(record.label_spend),
            "reads": {
                field: made_by.get(entry.artifact or "", entry.artifact or entry.reference).removeprefix(own)
                for field, entry in record.inputs.items()
            },
            "changed": [str(change).removeprefix("config.") for change in changed],
            "result": record.result,
            "summary": summary(record.result)[2:],
            "bytes": artifact.bytes,
        }


def _print_artifact(registry: Registry, artifact: Artifact, *, verify: bool) -> int:
    """One artifact: lineage as a tree, then its record's figures."""
    from reasoning_pipeline.registry.lineage import lineage_text

    out = Console(highlight=False, soft_wrap=True)
    record = artifact.record
    out.print(lineage_text(registry, artifact, scores=True), markup=False)
    out.print(f"\nfolder   {artifact.folder}\ncreated  {record.created}", markup=False)
    for key, value in record.result.items():
        out.print(f"{key:<16} {value}", markup=False)
    for key, value in record.provenance.items():
        if not isinstance(value, dict) and value is not None:
            out.print(f"{key:<16} {value}", markup=False)
    return _print_problems(registry.verify(artifact) if verify else [])


def _diff(arguments: argparse.Namespace) -> int:
    """Two records field by field; exit status 1 where anything but their times differs."""
    from reasoning_pipeline.registry.differences import differences
    from reasoning_pipeline.registry.store import Registry

    out, registry = console(), Registry(store_of(arguments))
    one, other = (find_artifact(registry, name) for name in (arguments.artifact, arguments.other))
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
    out.print(table if found else "the records say the same")
    out.print(f"files that differ: {', '.join(sorted(files)) or 'none'}", markup=False, soft_wrap=True)
    return 1 if found or files else 0


def _verify(arguments: argparse.Namespace) -> int:
    """With a bar on a terminal; exit status 1 if anything differs."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from reasoning_pipeline.errors import RegistryError
    from reasoning_pipeline.registry.record import read_record
    from reasoning_pipeline.registry.store import Artifact, Registry

    registry = Registry(store_of(arguments))
    problems, artifacts = [], [find_artifact(registry, name) for name in arguments.artifacts]
    for folder in registry.folders() if not arguments.artifacts else ():
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
    looked_at = f"{counted(len(artifacts), 'artifact')}, {amount(total, 'B')}"
    print(f"{looked_at}: {f'{len(problems)} differences' if problems else 'all well'}")
    return _print_problems(problems)


def _print_problems(problems: list[str]) -> int:
    out = Console(highlight=False, soft_wrap=True)
    for problem in problems:
        out.print(f"error: {problem}", style="red", markup=False)
    return 1 if problems else 0
