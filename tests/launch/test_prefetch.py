"""Fetching for nodes without network, with the real client against a stand-in for the hub."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from launch.__main__ import main
from launch.prefetch import Wanted, wanted
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.recipe.reading import load_recipe
from tests.bench import made_up_weights
from tests.launch.conftest import PROJECT, RECIPE

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFUSALS = {"closed/gated": (403, "GatedRepo"), "nobody/nothing": (404, "RepoNotFound")}


class Hub(BaseHTTPRequestHandler):
    """The routes that a download uses: a revision, what it holds, a file's head, a file."""

    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        parts = self.path.split("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        if name in REFUSALS:
            status, code = REFUSALS[name]
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": "not for you"}, body)
        elif parts[:2] == ["api", "models"]:
            sizes = {path.name: path.stat().st_size for path in sorted(self.folder.iterdir())}
            answers = {
                "revision": {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in sizes]},
                "tree": [{"type": "file", "path": file, "size": size, "oid": "0" * 40} for file, size in sizes.items()],
            }
            self._send(200, json.dumps(answers[parts[4]]).encode(), {}, body)
        elif parts[0] == "api":
            self._send(404, b"{}", {}, body)
        else:
            content = (self.folder / parts[-1]).read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            self._send(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """(address, paths asked for) of a hub on which every model has the same files, a pickle among them."""
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors", "pytorch_model.bin"):
        (repository / name).write_text(made_up_weights() if name == "model.safetensors" else "{}")
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Hub,), {"folder": repository, "asked": asked}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def recipe(folder: Path, *models: str) -> Path:
    rl = RECIPE["steps"]["rl"]
    steps = {f"rl{number}": {**rl, "policy": model, "replay": number > 0} for number, model in enumerate(models)}
    path = folder / "hub.yaml"
    path.write_text(yaml.safe_dump({"name": "hub", "data": RECIPE["data"], "steps": steps}))
    return path


def prefetch(folder: Path, path: Path, endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the client reads its environment once."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "launch", "prefetch", str(path), "--root", str(folder / "runs"), *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


def test_what_a_recipe_reads_from_the_hub_is_found_without_planning_it(tmp_path: Path) -> None:
    path = recipe(tmp_path, "some/model", "some/model", "other/model@v2")
    values = yaml.safe_load(path.read_text())
    values["data"]["math"] = {"source": "hub", "id": "some/data", "revision": "abc", "pools": {"m": 1}}
    values["evaluate"] = {"suites": ["aime24", "arithmetic"]}
    path.write_text(yaml.safe_dump(values))
    found = wanted(load_recipe(path))
    assert found[:3] == [
        Wanted("model", "some/model", ("rl0", "rl1")),
        Wanted("model", "other/model@v2", ("rl2",)),
        Wanted("data", "some/data@abc", ("data.math",), "math"),
    ]
    assert [(item.kind, item.used_by) for item in found[3:]] == [("suite", ("evaluate: aime24",))]


def test_a_model_is_fetched_once_without_its_pickle_and_is_then_there_offline(tmp_path: Path, hub) -> None:
    endpoint, asked = hub
    path = recipe(tmp_path, "some/model")
    done = prefetch(tmp_path, path, endpoint, "--dry-run")
    assert (done.returncode, done.stdout, asked) == (0, "model  some/model  (rl0)\n", [])
    done = prefetch(tmp_path, path, endpoint)
    assert done.returncode == 0, done.stderr
    assert COMMIT in done.stdout and "GiB in" in done.stdout
    assert any("model.safetensors" in path for path in asked) and not any("pytorch_model.bin" in path for path in asked)
    done = prefetch(tmp_path, path, "http://127.0.0.1:1")  # nobody listens there
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_had_is_named_with_its_remedy_and_the_rest_is_fetched(tmp_path: Path, hub) -> None:
    done = prefetch(tmp_path, recipe(tmp_path, "closed/gated", "nobody/nothing", "some/model"), hub[0])
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for model, remedy in (("closed/gated", "accept the licence"), ("nobody/nothing", "check the spelling")):
        assert re.search(f"error: model {model}(?:.*\n)??.*{remedy}", done.stderr), done.stderr
    assert COMMIT in done.stdout, "the other model came"


def test_a_model_in_a_registry_elsewhere_is_looked_for_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []

    def resolve(reference: str, store: Path) -> None:
        looked.append(store)
        raise RegistryError("not here")

    monkeypatch.setattr("launch.prefetch.resolve_model", resolve)
    path = recipe(tmp_path, "some/model")
    words = ["prefetch", str(path), "--root", str(tmp_path / "runs"), "--registry", str(tmp_path / "shared")]
    assert main(words) == 1 and looked == [tmp_path / "shared"]


def test_without_network_it_says_where_to_run(tmp_path: Path) -> None:
    done = prefetch(tmp_path, recipe(tmp_path, "some/model"), "http://127.0.0.1:1")
    assert done.returncode == 1 and "machine with network" in done.stderr, done.stderr
