"""`show`: the commands that look at the registry."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    show = commands.add_parser("show", help="artifacts of the registry, or one with its lineage")
    show.add_argument("artifact", nargs="?", help="artifact name, a unique beginning of it, or a step's name")
    show.add_argument("--verify", action="store_true", help="hash every file again and compare with the records")
    show.add_argument("--root", type=Path, default=Path("runs"), help="where registry and runs live (default: runs)")
    show.set_defaults(command=_show)


def _show(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.display import print_artifact, print_artifacts
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(arguments.root)
    if arguments.artifact is None:
        return print_artifacts(registry, verify=arguments.verify)
    return print_artifact(registry, arguments.artifact, verify=arguments.verify)
