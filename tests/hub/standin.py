"""A stand-in for the model hub, on loopback: what the real clients ask of it, and what can go wrong on the way.

Repositories hold commits, each a whole tree of files; branches and tags are names of commits, and move. Large files
(weights, tokenizers) live in a store of their own, behind a redirect to another host, as on the hub: the endpoint is
127.0.0.1, the store is localhost. What is asked for is written down in `asked`.

Not here: pull requests, listing and searching, the Xet store (`HF_HUB_DISABLE_XET=1`), anything but bearer tokens.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", "tokenizer.json")
TOKEN = "hf_standin"


@dataclass
class Repository:
    """Commits (id -> path -> content) and what names mean at the moment."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main", message: str = "") -> str:
        """Add files to what the branch holds, a new one to what main holds; the commit's id. The branch moves to it."""
        parent = self.names.get(branch, self.names.get("main", ""))
        tree = {**self.commits.get(parent, {}), **files}
        content = json.dumps([parent, len(self.commits), {path: _sha(data) for path, data in tree.items()}])
        found = hashlib.sha1(content.encode()).hexdigest()
        self.commits[found], self.names[branch] = tree, found
        self.messages.append(message)
        return found

    def at(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.names.get(revision)


@dataclass
class Hub:
    """What the stand-in holds, and its faults."""

    address: str = ""
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    store: dict[str, bytes] = field(default_factory=dict)
    """Large files by sha256, uploads included."""
    asked: list[str] = field(default_factory=list)
    """`GET /api/models/…` and so on, with the range where one was asked for."""
    busy: int = 0
    """How many requests more are refused with 429."""
    retry_after_s: int = 1
    breaks: int = 0
    """How many answers more with weights break off, at the middle of the file."""

    def model(self, name: str, folder: Path, branch: str = "main") -> str:
        """A commit with the files of a folder."""
        return self.commit("models", name, {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}, branch)

    def commit(self, kind: str, name: str, files: dict[str, bytes | str], branch: str = "main") -> str:
        repository = self.repositories.setdefault((kind, name), Repository())
        content = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        self.store |= {_sha(data): data for path, data in content.items() if path.endswith(LARGE)}
        return repository.commit(content, branch)

    def environment(self, home: Path) -> dict[str, str]:
        """What a process needs in order to ask this hub and no other."""
        return {"HF_ENDPOINT": self.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}

    def downloads(self, path: str) -> int:
        """How often a file's content was asked for."""
        return sum(line.startswith("GET ") and line.split()[1].endswith(f"/{path}") for line in self.asked)


@contextmanager
def serving() -> Iterator[Hub]:
    """An empty hub that answers until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Requests,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class Requests(BaseHTTPRequestHandler):
    """One request: a route, a refusal, or a file."""

    hub: Hub

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        asked_range = self.headers.get("Range")
        self.hub.asked.append(f"{self.command} /{path}" + (f" {asked_range}" if asked_range else ""))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.hub.busy:
            self.hub.busy -= 1
            return self._refuse(429, "", "too many requests", {"Retry-After": str(self.hub.retry_after_s)})
        parts = path.split("/")
        if parts[0] == "lfs":
            return self._large(parts[1], parts[-1])
        if parts[:2] == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        if parts[:2] == ["api", "repos"]:
            return self._create(json.loads(self.body))
        if parts[0] == "api" and len(parts) >= 4:
            return self._api(parts[1], "/".join(parts[2:4]), parts[4:])
        kind = parts.pop(0) if parts[0] in ("datasets", "models") else "models"
        if len(parts) > 4 and parts[2] == "resolve":
            return self._resolve(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        if len(parts) > 2 and parts[1].endswith(".git"):
            return self._batch(json.loads(self.body))
        return self._refuse(404, "", "no such route")

    # Reading

    def _api(self, kind: str, name: str, rest: list[str]) -> None:
        what, revision = (*rest, "revision", "main")[:2] if not rest else (*rest, "main")[:2]
        path = "/".join(rest[2:])
        if what in ("preupload", "commit"):
            return self._upload(kind, name, what, revision)
        if (found := self._commit(kind, name, revision)) is None:
            return None
        repository, commit = found
        files = repository.commits[commit]
        if what == "revision":
            siblings = [{"rfilename": path} for path in files]
            return self._json({"id": name, "sha": commit, "siblings": siblings, "tags": [], "gated": repository.gated})
        if what == "tree":
            under = [p for p in files if not path or p.startswith(f"{path}/")]
            return self._json([self._entry(p, files[p]) for p in under])
        if what == "paths-info":
            wanted = parse_qs(self.body.decode()).get("paths", [])
            return self._json([self._entry(p, files[p]) for p in wanted if p in files])
        return self._refuse(404, "", "no such route")

    def _commit(self, kind: str, name: str, revision: str) -> tuple[Repository, str] | None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            return self._refuse(404, "RepoNotFound", "Repository not found")
        commit = repository.at(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository, commit

    @staticmethod
    def _entry(path: str, data: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _git(data)}
        return entry | ({"lfs": {"oid": _sha(data), "size": len(data), "pointerSize": 134}} if _is_large(path) else {})

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        if (found := self._commit(kind, name, revision)) is None:
            return None
        repository, commit = found
        headers = {"X-Repo-Commit": commit}
        if repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(403, "GatedRepo", f"Access to {name} is restricted")
        data = repository.commits[commit].get(path)
        if data is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", headers)
        if not _is_large(path):
            return self._send(200, data, headers | {"ETag": f'"{_git(data)}"'})
        store = self.hub.address.replace("127.0.0.1", "localhost")
        headers |= {"X-Linked-Etag": f'"{_sha(data)}"', "X-Linked-Size": str(len(data))}
        return self._send(302, b"", headers | {"Location": f"{store}/lfs/{_sha(data)}/{path}"})

    def _large(self, digest: str, name: str) -> None:
        if self.command == "PUT":
            self.hub.store[digest] = self.body
            return self._send(200, b"", {})
        data = self.hub.store[digest]
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if asked else {}
        rest, cut = data[start:], None
        if self.command == "GET" and self.hub.breaks and name.endswith(".safetensors"):
            self.hub.breaks -= 1
            cut = max(0, len(data) // 2 - start)
        return self._send(206 if asked else 200, rest, headers, cut)

    # Writing

    def _create(self, wanted: dict[str, Any]) -> None:
        if not self._may_write():
            return None
        kind, name = f"{wanted.get('type', 'model')}s", f"{wanted['organization']}/{wanted['name']}"
        answer = {"url": f"{self.hub.address}/{name}", "id": name}
        known = (kind, name) in self.hub.repositories
        self.hub.repositories.setdefault((kind, name), Repository()).names.setdefault("main", "")
        return self._json(answer, 409 if known else 200)

    def _upload(self, kind: str, name: str, what: str, branch: str) -> None:
        repository = self.hub.repositories.get((kind, name))
        if not self._may_write():
            return None
        if repository is None:
            return self._refuse(404, "RepoNotFound", "Repository not found")
        if what == "preupload":
            paths = [entry["path"] for entry in json.loads(self.body)["files"]]
            modes = {path: "lfs" if _is_large(path) else "regular" for path in paths}
            return self._json(
                {"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]}
            )
        files: dict[str, bytes] = {}
        message = ""
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.hub.store[value["oid"]]
        commit = repository.commit(files, branch, message)
        return self._json({"commitUrl": f"{self.hub.address}/{name}/commit/{commit}", "commitOid": commit})

    def _batch(self, wanted: dict[str, Any]) -> None:
        if "objects" not in wanted:  # the client tells what it uploaded
            good = len(self.hub.store.get(wanted["oid"], b"")) == wanted["size"]
            return self._json({}) if good else self._refuse(400, "", "the upload is not whole")
        verify = {"href": f"{self.hub.address}{urlsplit(self.path).path}/verify"}
        actions = [
            {**entry, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{entry['oid']}"}, "verify": verify}}
            for entry in wanted["objects"]
        ]
        return self._json({"transfer": "basic", "objects": actions})

    def _may_write(self) -> bool:
        given = self.headers.get("Authorization")
        if given != f"Bearer {TOKEN}":
            self._refuse(*((403, "", "no right to write here") if given else (401, "", "who are you?")))
        return given == f"Bearer {TOKEN}"

    # Answering

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        told = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({"error": message}).encode(), told | (headers or {}))

    def _send(self, status: int, data: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        """`cut` sends only so many bytes of what is promised."""
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:cut])


def _is_large(path: str) -> bool:
    return path.endswith(LARGE)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
