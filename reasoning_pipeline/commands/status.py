"""`status`: which rollout servers run, and what each is doing."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from rich.table import Table

from reasoning_pipeline.base.text import clock, console
from reasoning_pipeline.commands.options import add_json_option, command

ANSWER_SECONDS = 3.0
"""A server whose engine is inside a long forward pass answers late; longer than this is told as such."""


def add(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "status", _status)
    parser.add_argument("--url", action="append", default=[], help="ask this server instead (may be repeated)")
    add_json_option(parser)


def _status(arguments: argparse.Namespace) -> int:
    """Print the servers of this root, or those at `--url`. Exit status 1 where one does not answer."""
    from reasoning_pipeline.rollouts.servers import register

    root, urls = arguments.root, arguments.url
    running, gone = ([], []) if urls else register.read(root / register.FOLDER)
    found: list[dict[str, Any]] = [{"url": url} for url in urls] or [
        {"url": entry.url, "host": entry.host, "owner": entry.owner, "log": entry.log, "model": entry.model}
        for entry in running
    ]
    answers = _ask_all([entry["url"] for entry in found])
    rows = [entry | answer for entry, answer in zip(found, answers, strict=True)]
    if arguments.json:
        told = [{"model": entry.model, "pid": entry.pid, "log": entry.log} for entry in gone]
        print(json.dumps({"servers": rows, "gone": told}, indent=2))
    else:
        for entry in gone:
            print(f"{entry.model} (process {entry.pid}) is gone; its file is removed, its log is {entry.log}")
        if not rows:
            print(f"no rollout server of {root} is running")
        else:
            _print(rows)
    return 1 if any("error" in row for row in rows) else 0


def _ask_all(urls: list[str]) -> list[dict[str, Any]]:
    if not urls:
        return []
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(urls)) as threads:
        return list(threads.map(_ask, urls))


def _ask(url: str) -> dict[str, Any]:
    from reasoning_pipeline.errors import ServerError
    from reasoning_pipeline.rollouts.clients.client import RolloutClient

    client = RolloutClient(url)  # from this machine no key is needed; elsewhere that of the environment is sent
    try:
        return client.status(ANSWER_SECONDS)
    except ServerError as error:
        return {"error": error.message}
    finally:
        client.close()


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, header_style="bold")
    for name in ("server", "model", "policy version", "up", "running", "waiting", "tokens/s", "KV cache", "memory"):
        table.add_column(name, overflow="fold")
    for row in rows:
        if "error" in row:
            table.add_row(row["url"], row.get("model", ""), f"[red]{row['error']}[/red]")
            continue
        memory = f"{row['memory_gib']:.1f} GiB"
        if row["gpu_memory_gib"] is not None:
            memory += f" + {row['gpu_memory_gib']:.1f} GiB GPU"
        table.add_row(
            row["url"],
            row["model"],
            row["policy_version"] or "(the engine is busy)",
            clock(max(0, time.time() - row["started"])),
            str(row["running"]),
            str(row["waiting"]),
            f"{row['tokens_per_s']:,.0f}",
            f"{row['kv_cache_use']:.0%}",
            memory,
        )
    console().print(table)
