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

    plain = command(commands, "import-model", _import_model)
    plain.add_argument("source", help="a hub name, a model folder (a trainer's resume point too), or a file *.gguf")
    plain.add_argument("out", type=Path, help="the folder to make; must not be there")
    plain.add_argument("--end-token", metavar="TOKEN", help="what ends an answer, where its files disagree")
    plain.add_argument("--pad-token", metavar="TOKEN", help="what fills up rows (default: its own, else the end token)")
    plain.add_argument("--chat-template", type=Path, metavar="FILE", help="a Jinja file, for models without one")
    plain.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="of weights out of a GGUF file"
    )

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


def _import_model(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.models.importing import Choices, import_folder
    from reasoning_pipeline.registry.resolve import resolve_model

    source = Path(arguments.source).expanduser()
    if not source.exists() and not arguments.source.startswith((".", "/", "~")) and source.suffix != ".gguf":
        source = resolve_model(arguments.source, arguments.root).folder
    choices = Choices(arguments.end_token, arguments.pad_token, arguments.chat_template, arguments.dtype)
    imported = import_folder(source, arguments.out, choices, said=arguments.source)
    for note in imported.notes:
        print(f"  {note}")
    print(f"{imported.folder}: recipes can say `policy: {imported.folder}`")
    return 0


def _push(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.registry.exporting import push
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(store_of(arguments))
    print(
        push(registry, find_artifact(registry, arguments.checkpoint), arguments.repository, private=arguments.private)
    )
    return 0
