"""`show`, `diff`, `verify`, `gc`, `export`, `import`, `push`: the commands that look after the registry."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from reasoning_pipeline.commands.arm_options import seed_list, seeds_of

ARTIFACT = "artifact name, a unique beginning of it, or a step's name"


def add(commands: argparse._SubParsersAction) -> None:
    show = _command(commands, "show", "artifacts of the registry, or one with its lineage", _show)
    show.add_argument("artifact", nargs="?", help=ARTIFACT)
    show.add_argument("other", nargs="?", help="a second one: what differs between their records")
    show.add_argument("--verify", action="store_true", help="hash every file again and compare with the records")

    diff = _command(commands, "diff", "what differs between two artifacts' records, field by field", _diff)
    diff.add_argument("artifact", help=ARTIFACT)
    diff.add_argument("other", help=ARTIFACT)

    verify = _command(commands, "verify", "hash every file again; a line for each difference", _verify)
    verify.add_argument("artifacts", nargs="*", metavar="ARTIFACT", help=f"{ARTIFACT} (default: all)")

    collect = _command(commands, "gc", "what no step of these recipes needs, and removing it", _collect)
    collect.add_argument("recipes", nargs="+", type=Path, metavar="RECIPE", help="recipes whose results are kept")
    collect.add_argument(
        "--seeds", metavar="N,N,…", type=seed_list, help="results under these seeds are kept (default: the recipe's)"
    )
    collect.add_argument("--keep", metavar="ARTIFACT", action="append", default=[], help="keep this too (repeatable)")
    collect.add_argument("--dry-run", action="store_true", help="only list")
    collect.add_argument("--yes", action="store_true", help="remove without asking")

    export = _command(commands, "export", "a checkpoint as a plain Hugging Face folder with a model card", _export)
    export.add_argument("checkpoint", help=ARTIFACT)
    export.add_argument("folder", type=Path, help="where it goes; must not hold anything")

    adopt = _command(commands, "import", "bring in a model, an artifact, or another registry", _import)
    adopt.add_argument("source", help="a folder, or a hub name such as Qwen/Qwen3-1.7B@REVISION")
    adopt.add_argument("--name", help="what recipes will call the model (default: the last part of the source)")
    adopt.add_argument("--labels-spent", type=int, default=0, metavar="N", help="checked answers known to be behind it")
    adopt.add_argument("--note", default="", metavar="TEXT", help="where it comes from; kept in its record")

    push = _command(commands, "push", "a checkpoint with its model card to the Hugging Face hub", _push)
    push.add_argument("checkpoint", help=ARTIFACT)
    push.add_argument("repository", metavar="REPO_ID", help="e.g. my-name/my-model")
    push.add_argument("--private", action="store_true", help="where the repository is new, make it a private one")


def _command(
    commands: argparse._SubParsersAction, name: str, text: str, function: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--root", type=Path, default=Path("runs"), help="where registry and runs live (default: runs)")
    parser.set_defaults(command=function)
    return parser


def _show(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.display import print_artifact, print_artifacts, print_difference
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(arguments.root)
    if arguments.artifact is None:
        return print_artifacts(registry, verify=arguments.verify)
    if arguments.other is not None:
        return print_difference(registry, arguments.artifact, arguments.other)
    return print_artifact(registry, arguments.artifact, verify=arguments.verify)


def _diff(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.display import print_difference
    from reasoning_pipeline.registry.store import Registry

    return print_difference(Registry(arguments.root), arguments.artifact, arguments.other)


def _verify(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.display import print_verification
    from reasoning_pipeline.registry.store import Registry

    return print_verification(Registry(arguments.root), arguments.artifacts)


def _collect(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.display import find_artifact, print_removable
    from reasoning_pipeline.errors import RegistryError
    from reasoning_pipeline.plan.planner import make_plan
    from reasoning_pipeline.recipe.reading import load_recipe
    from reasoning_pipeline.registry.removal import at_work, remove, unneeded
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(arguments.root)
    kept = [find_artifact(registry, name).name for name in arguments.keep]
    for path in arguments.recipes:
        recipe = load_recipe(path, ())
        seeds = dict.fromkeys((recipe.seed, *seeds_of(arguments, recipe, declared=True)))
        plan = make_plan(recipe, arguments.root, tuple(seeds))
        kept += [name for step in plan.steps for name in (step.output, *_read_from(step.inputs))]
    items = unneeded(registry, kept)
    print_removable(items)
    if arguments.dry_run or not items:
        return 0
    if busy := list(at_work(registry)):
        raise RegistryError(
            "not removed: a run is at work here\n  " + "\n  ".join(busy), remedy="wait for it; --dry-run always works"
        )
    if not arguments.yes and not _agreed():
        return 1
    remove(registry, items)
    print(f"removed; their records stay in {registry.folder.name}/removed")
    return 0


def _read_from(inputs: tuple) -> list[str]:
    return [entry.artifact for entry in inputs if entry.artifact]


def _agreed() -> bool:
    import sys

    from reasoning_pipeline.errors import RegistryError

    if not sys.stdin.isatty():
        raise RegistryError("not removed: nobody there to be asked", remedy="add --yes")
    return input("remove these? [y/N] ").strip().lower() in ("y", "yes")


def _export(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.display import find_artifact
    from reasoning_pipeline.registry.exporting import export
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(arguments.root)
    names = export(registry, find_artifact(registry, arguments.checkpoint), arguments.folder)
    print(f"{arguments.folder}: {', '.join(names)}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.errors import RegistryError
    from reasoning_pipeline.registry.adopting import artifacts_of, import_model, merge
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(arguments.root)
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
    from reasoning_pipeline.display import find_artifact
    from reasoning_pipeline.registry.exporting import push
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(arguments.root)
    print(
        push(registry, find_artifact(registry, arguments.checkpoint), arguments.repository, private=arguments.private)
    )
    return 0
