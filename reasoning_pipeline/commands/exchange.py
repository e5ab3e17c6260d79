"""`export`, `import`, `push`: the commands that carry artifacts out of a registry and into it."""

from __future__ import annotations

import argparse
from pathlib import Path

from reasoning_pipeline.commands.artifacts import ARTIFACT, find_artifact
from reasoning_pipeline.commands.options import command, store_of


def add(commands: argparse._SubParsersAction) -> None:
    export = command(commands, "export", _export)
    export.add_argument("checkpoint", help=ARTIFACT)
    export.add_argument("folder", type=Path, help="where it goes; must not hold anything")

    adopt = command(commands, "import", _import)
    adopt.add_argument("source", help="a folder, or a hub name such as Qwen/Qwen3-1.7B@REVISION")
    adopt.add_argument("--name", help="what recipes will call the model (default: the last part of the source)")
    adopt.add_argument("--labels-spent", type=int, default=0, metavar="N", help="checked answers known to be behind it")
    adopt.add_argument("--note", default="", metavar="TEXT", help="where it comes from; kept in its record")

    push = command(commands, "push", _push)
    push.add_argument("checkpoint", help=ARTIFACT)
    push.add_argument("repository", metavar="REPO_ID", help="e.g. my-name/my-model")
    push.add_argument("--private", action="store_true", help="where the repository is new, make it a private one")


def _export(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.registry.exporting import export
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(store_of(arguments))
    names = export(registry, find_artifact(registry, arguments.checkpoint), arguments.folder)
    print(f"{arguments.folder}: {', '.join(names)}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.errors import RegistryError
    from reasoning_pipeline.registry.adopting import artifacts_of, import_model, merge
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(store_of(arguments))
    if arguments.labels_spent < 0:
        raise RegistryError("--labels-spent: a count, at least 0", remedy="leave it out where nothing is known")
    if sources := artifacts_of(Path(arguments.source).expanduser()):
        for name, what in merge(registry, sources):
            print(f"{name}: {what}")
        return 0
    artifact = import_model(
        registry, arguments.source, name=arguments.name, labels_spent=arguments.labels_spent, note=arguments.note
    )
    print(f"{artifact.name}: recipes can say `policy: {artifact.record.step}`")
    return 0


def _push(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.registry.exporting import push
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(store_of(arguments))
    print(
        push(registry, find_artifact(registry, arguments.checkpoint), arguments.repository, private=arguments.private)
    )
    return 0
