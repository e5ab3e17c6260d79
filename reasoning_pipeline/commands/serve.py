"""`serve`: one rollout server in the foreground, for a person or for other runs to adopt."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.commands.options import add_hardware_option, command, store_of
from reasoning_pipeline.errors import PipelineError, ServerError
from reasoning_pipeline.hardware.addresses import is_loopback

if TYPE_CHECKING:
    from reasoning_pipeline.hardware.profile import HardwareProfile
    from reasoning_pipeline.registry.resolve import ResolvedModel
    from reasoning_pipeline.rollouts.servers.process import RolloutServer
    from reasoning_pipeline.run.uses import Use

SHORTEST_KEY = 16


def add(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "serve", _serve)
    parser.add_argument("checkpoint", help="artifact, step's name, model folder or hub name")
    add_hardware_option(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="default: a free one")
    parser.add_argument(
        "--key-file",
        type=Path,
        help="file with the key; without it REASONING_PIPELINE_SERVER_KEY of the environment, or a random one",
    )
    parser.add_argument("--max-model-len", type=int, metavar="TOKENS", help="longest prompt plus completion")
    parser.add_argument(
        "--as-rollout-server", action="store_true", help="let whoever has the key push weights: for server.urls"
    )
    parser.add_argument(
        "--readable",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="with --as-rollout-server: weights may be loaded from here, e.g. runs/registry (may be repeated)",
    )


def _serve(arguments: argparse.Namespace) -> int:
    """Start, say how to use it, wait for Ctrl-C. Exit status 0 when asked to stop, 1 when the server died."""
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.models.architecture import bounded_length
    from reasoning_pipeline.registry.resolve import resolve_model
    from reasoning_pipeline.rollouts.servers import register
    from reasoning_pipeline.rollouts.servers.alone import alone_on_this_machine
    from reasoning_pipeline.rollouts.servers.command import Service
    from reasoning_pipeline.rollouts.servers.process import RolloutServer
    from reasoning_pipeline.run.uses import kinds, use_of

    profile = load_profile(arguments.hardware)
    model = resolve_model(arguments.checkpoint, store_of(arguments), kinds=kinds())
    key, source = find_key(arguments.key_file, host=arguments.host, keys=arguments.root / register.FOLDER)
    if (use := use_of(model.folder)) is not None:
        return _serve_own(use, model, profile, arguments, key, source)
    service = Service(
        host=arguments.host,
        port=arguments.port,
        name=model.folder.name,
        also=_names(arguments.checkpoint, model),
        development=arguments.as_rollout_server,
        key=key or secrets.token_urlsafe(32),
    )
    folder = arguments.root / register.FOLDER
    length = bounded_length(model.folder, arguments.max_model_len, trains=arguments.as_rollout_server)
    server = RolloutServer(
        model.folder.resolve(),
        alone_on_this_machine(profile, model.folder, length),
        folder / f"serve-{os.getpid()}.log",
        readable=(model.folder, *(folder.resolve() for folder in arguments.readable)),
        max_model_len=length,
        service=service,
        devices=profile.server.devices_of(0),
        register=folder,
    )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        print(f"starting {model.name} in {profile.precision}; its log: {server.log}", flush=True)
        server.start()
        server.wait_ready()
        print(_usage(server, model, profile, source), flush=True)
        while server.alive:
            time.sleep(0.5)
        raise ServerError(f"the server ended by itself\n{server.log_tail()}", remedy=f"full log: {server.log}")
    except KeyboardInterrupt:
        print("stopping", flush=True)
        return 0
    finally:
        server.stop()


def _serve_own(
    use: Use,
    model: ResolvedModel,
    profile: HardwareProfile,
    arguments: argparse.Namespace,
    key: str | None,
    source: str | None,
) -> int:
    """A checkpoint that is no language model, in its workflow's own way; the same key, the same end."""
    from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE

    if key is None:
        key = secrets.token_hex(24)
        print(f"its key, shown this once:\n\n    export {KEY_VARIABLE}={key}\n", flush=True)
    else:
        print(f"its key is the one in {source}", flush=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        use.serve(model, profile=profile, host=arguments.host, port=arguments.port, key=key)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    return 0


def _names(asked: str, model: ResolvedModel) -> tuple[str, ...]:
    """What a client may call the model besides its folder's name: what was typed, and the step that made it."""
    names = {asked, model.name.partition(" (")[0]} - {model.folder.name}
    return tuple(sorted(name for name in names if name))


def find_key(file: Path | None, *, host: str, keys: Path) -> tuple[str | None, str | None]:
    """(key, where it came from); (None, None) where a random one is to be made and shown.

    Args:
        keys: A folder. Where output is no terminal, a random key goes into a file there that its owner alone may read:
            logs are read by many.

    Raises:
        PipelineError: The server is to listen beyond loopback, where whoever uses it must have been given a key.
    """
    from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE

    if file is not None:
        key, source = file.read_text(encoding="utf-8").strip(), str(file)
    else:
        key, source = os.environ.get(KEY_VARIABLE, ""), f"${KEY_VARIABLE}"
    if key:
        if len(key) < SHORTEST_KEY:
            raise PipelineError(
                f"the key in {source} has {len(key)} characters, fewer than {SHORTEST_KEY}",
                remedy="make one with `openssl rand -hex 24`",
            )
        return key, source
    if not is_loopback(host):
        raise PipelineError(
            f"--host {host} listens beyond this machine and no key is given",
            remedy=f"put one into a file for --key-file, or into {KEY_VARIABLE}; `openssl rand -hex 24` makes one",
        )
    if not sys.stdout.isatty():
        keys.mkdir(parents=True, exist_ok=True)
        made, path = tempfile.mkstemp(suffix=".key", prefix="serve-", dir=keys)  # readable by its owner alone
        key = secrets.token_hex(24)
        with open(made, "w", encoding="utf-8") as out:
            out.write(key + "\n")
        return key, path
    return None, None


def _usage(server: RolloutServer, model: ResolvedModel, profile: HardwareProfile, source: str | None) -> str:
    """What a person needs to use the server. The key itself only where it was made here, and goes to a terminal."""
    from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE

    lines = [f"{model.name} answers at {server.url} (and as model `policy`)"]
    if source is None:
        lines.append(f"its key, shown this once:\n\n    export {KEY_VARIABLE}={server.key}\n")
    else:
        lines.append(f"its key is the one in {source}")
    lines.append(
        "try it:\n\n"
        f"    curl {server.url}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
        f'        -H "Authorization: Bearer ${KEY_VARIABLE}" \\\n'
        f'        -d \'{{"model": "policy", "messages": [{{"role": "user", "content": "1+1"}}]}}\'\n'
    )
    if server.service.development:
        lines.append(
            f"weights may be pushed to it through {server.transfer_folder} (precision {profile.precision});\n"
            f"a profile adopts it with `server: {{urls: [{server.url}]}}`"
        )
    lines.append("Ctrl-C stops it")
    return "\n".join(lines)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
