"""`serve`, `status`: rollout servers for a person, and which of them run."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    text = "serve a checkpoint: OpenAI-compatible, until Ctrl-C"
    serve = commands.add_parser("serve", help=text, description=text)
    serve.add_argument("checkpoint", help="artifact, step's name, model folder or hub name")
    serve.add_argument(
        "--hardware", metavar="PROFILE", help="a file in reasoning_pipeline/hardware/profiles/ by name, or a path"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="default: a free one")
    serve.add_argument(
        "--key-file",
        type=Path,
        help="file with the key; without it REASONING_PIPELINE_SERVER_KEY of the environment, or a random one",
    )
    serve.add_argument("--max-model-len", type=int, metavar="TOKENS", help="longest prompt plus completion")
    serve.add_argument(
        "--as-rollout-server", action="store_true", help="let whoever has the key push weights: for server.urls"
    )
    serve.add_argument(
        "--readable",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="with --as-rollout-server: weights may be loaded from here, e.g. runs/registry (may be repeated)",
    )
    serve.add_argument("--root", type=Path, default=Path("runs"), help="where registry and runs live (default: runs)")
    serve.set_defaults(command=_serve)

    status = commands.add_parser("status", help="the rollout servers that run: policy, load, memory")
    status.add_argument("--root", type=Path, default=Path("runs"), help="whose servers (default: runs)")
    status.add_argument("--url", action="append", default=[], help="ask this server instead (may be repeated)")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(command=_status)


def _serve(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.rollouts.serving import serve

    return serve(arguments)


def _status(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.commands.status import status

    return status(arguments.root, arguments.url, as_json=arguments.json)
