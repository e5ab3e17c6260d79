"""The model hub as this machine knows it: what a name means, which files a commit has, what its refusals mean."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from reasoning_pipeline.beside import LAUNCH
from reasoning_pipeline.errors import as_storage_error

Kind = Literal["model", "dataset"]

MAIN = "main"
PATIENCE_S = 5.0
"""How long a question to the hub may take that is only asked in order to tell."""

GATED = "its authors ask for consent: accept the licence on the model's page, then `hf auth login` or HF_TOKEN"
UNKNOWN = "no such name or revision on the hub, or a private one: check the spelling and HF_TOKEN"
BUSY = "wait and run it again; what came is kept, and requests with a token (`hf auth login`) may be more"
BROKEN = "run it again: files that came whole are kept, and only the others are fetched"
AWAY = f"`{LAUNCH} prefetch RECIPE` on a machine with network, into the same HF_HOME; or give a local copy"

TOO_MANY, SERVER_TROUBLE = 429, 500


def is_commit(revision: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def cache_folder(name: str, kind: Kind = "model") -> Path:
    """Where the hub's cache on this machine keeps a model or a data set: `refs/` and `snapshots/` lie below it."""
    from huggingface_hub.constants import HF_HUB_CACHE, REPO_ID_SEPARATOR

    # As `huggingface_hub.file_download.repo_folder_name` has it; that module would bring httpx, and 0.2 s.
    return Path(HF_HUB_CACHE) / REPO_ID_SEPARATOR.join((f"{kind}s", *name.split("/")))


def cached_commit(name: str, revision: str = "", kind: Kind = "model") -> str | None:
    """The commit that a revision means, from the hub's cache on this machine; None where it was never fetched."""
    if is_commit(revision):
        return revision
    try:
        return (cache_folder(name, kind) / "refs" / (revision or MAIN)).read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def latest_commit(name: str, revision: str = "", kind: Kind = "model") -> str | None:
    """The commit that a revision means on the hub now; offline, in the cache. Raises whatever the client raises."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return cached_commit(name, revision, kind)
    return HfApi().repo_info(name, revision=revision or None, repo_type=kind, timeout=PATIENCE_S).sha


def may_fetch(name: str, revision: str) -> None:
    """Asks for the head of a small file, without fetching it. Raises whatever the client raises."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    get_hf_file_metadata(hf_hub_url(name, "config.json", revision=revision or None), timeout=PATIENCE_S)


def differing_files(name: str, commits: tuple[str, str], patterns: Sequence[str], *, ask: bool) -> list[str] | None:
    """Files of a model that fit the patterns and differ between two commits; None where those of one are not known.

    Args:
        ask: The hub, else the cache alone.
    """
    one, other = (_files(name, commit, patterns, ask=ask) for commit in commits)
    if one is None or other is None:
        return None
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def _files(name: str, commit: str, patterns: Sequence[str], *, ask: bool) -> dict[str, str] | None:
    """Path -> what git or the store of large files calls its content: from the hub, or from the cache's links."""
    found = _tree(name, commit) if ask else None
    if found is None:
        folder = cache_folder(name, "model") / "snapshots" / commit
        found = {path.name: path.resolve().name for path in folder.glob("*") if path.is_symlink()}
    kept = {p: identity for p, identity in found.items() if any(fnmatch.fnmatch(p, pattern) for pattern in patterns)}
    return kept or None


def _tree(name: str, commit: str) -> dict[str, str] | None:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    try:
        files = [f for f in HfApi().list_repo_tree(name, revision=commit) if isinstance(f, RepoFile)]
    except Exception:  # not to be asked now, or the commit is gone; the cache knows files by the same identities
        return None
    return {f.path: f.lfs.sha256 if f.lfs else f.blob_id for f in files}


def prepared_folder(name: str) -> Path:
    """Where `datasets` keeps what it made of a data set: CONFIGURATION/VERSION/COMMIT below it."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    owner, _, last = name.rpartition("/")
    snake = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", last)).lower()
    return Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets")) / "___".join(filter(None, [owner, snake]))


def refusal(error: BaseException) -> tuple[str, str] | None:
    """(what it means, what to do) of an error of the hub's clients; None where it is of no kind that we know."""
    import httpx
    from huggingface_hub import errors

    for cause in _chain(error):
        first_line = str(cause).strip().partition("\n")[0]
        if (stored := as_storage_error(cause)) is not None:
            return stored.message, str(stored.remedy)
        # `datasets` says two of these in words alone.
        if isinstance(cause, errors.GatedRepoError) or "is a gated dataset" in first_line:
            return "it is gated, and this account has no access", GATED
        if isinstance(cause, errors.RepositoryNotFoundError) or "doesn't exist on the Hub" in first_line:
            return "the hub knows no such name", UNKNOWN
        if isinstance(cause, errors.RevisionNotFoundError):
            return "the hub knows the name, but no such revision", UNKNOWN
        if isinstance(cause, errors.IncompleteSnapshotError):
            missing = re.search(r"\d+ file\(s\) are missing \([^)]*\)+", str(cause))
            return f"only part of it is on this machine: {missing[0] if missing else first_line}", AWAY
        if isinstance(cause, httpx.HTTPStatusError | errors.HfHubHTTPError):
            if cause.response.status_code == TOO_MANY:
                wait = cause.response.headers.get("Retry-After")
                return f"the hub refuses for now, too many requests{f' (wait {wait} s)' if wait else ''}", BUSY
            if cause.response.status_code >= SERVER_TROUBLE:
                return f"the hub itself is in trouble (status {cause.response.status_code})", BROKEN
        if isinstance(cause, httpx.RemoteProtocolError | httpx.ReadError) or "Consistency check failed" in first_line:
            return f"the download broke off ({first_line[:200]})", BROKEN
        if isinstance(cause, errors.OfflineModeIsEnabled | httpx.TransportError) or "Couldn't reach" in first_line:
            return f"the hub cannot be reached ({first_line[:200]})", AWAY
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
