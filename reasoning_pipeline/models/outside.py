"""Models that no step made: a folder of somebody's, or a hub model. What identifies one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.base.fingerprint import digest, file_digest, in_threads
from reasoning_pipeline.base.hub import AWAY, GATED, UNKNOWN, cache_folder, cached_commit, may_fetch, refusal
from reasoning_pipeline.base.validation import suggested_file
from reasoning_pipeline.errors import IncompatibleModels, RegistryError
from reasoning_pipeline.models.weights import not_finite, tensors, weight_files

MODEL_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
"""What makes a model: configuration, weights, tokenizer, chat template. No pickle and no code is ever read."""

DIGESTS = ".digests.json"
"""In ROOT/work: digests of files from outside, so that a plan reads gigabytes once and not each time."""
READ_BYTES = 2 * 2**30
"""Models up to this size are read whole without being asked."""

_RECORD = "record.json"

UNFETCHED = ", never fetched"

SETTLED_SECONDS = 2.0
"""A file younger than this may change again within the same tick of the clock; it is hashed anew."""


def outside_folder(reference: str, base: Path) -> Path | None:
    """The folder that a reference names, relative to `base`, or None where it is a hub name or an artifact's."""
    path = base / Path(reference).expanduser()
    return path if path.is_dir() or reference.startswith((".", "/", "~")) else None


def require_weights(folder: Path) -> None:
    """Raises RegistryError where a model folder lacks its configuration or weights: a file of several, or its end."""
    if not folder.is_dir():
        said = f"{folder}: no such folder{suggested_file(folder)}"
        raise RegistryError(said, remedy="a relative path of a recipe starts at its folder")
    if not (folder / "config.json").is_file():
        raise RegistryError(f"{folder}: no config.json", remedy="this is not a Hugging Face model folder")
    if (folder / _RECORD).is_file():
        weight_files(folder)  # published: what each file holds is in its record, for `verify`
    else:
        tensors(folder)


def hub_snapshot(reference: str) -> Path | None:
    """The folder of the hub's cache that a name (`…@revision`) means on this machine; None where it was never
    fetched."""
    name, _, revision = reference.partition("@")
    commit = cached_commit(name, revision)
    folder = None if commit is None else cache_folder(name) / "snapshots" / commit
    return folder if folder is not None and folder.is_dir() else None


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that make the model, by name; links are followed, as the hub's cache needs."""
    found = {path for pattern in MODEL_FILES for path in folder.glob(pattern)}
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def folder_digests(folder: Path, root: Path | None = None) -> dict[str, str]:
    """File name -> sha256 of its whole content, for the files that make the model.

    Args:
        root: Where digests are remembered (by path, size and time of change); None hashes everything.
    """
    paths = model_files(folder)
    digests = _of_each(paths, root, file_digest)
    return {path.name: found for path, found in zip(paths, digests, strict=True)}


def check_finite(folder: Path, root: Path, *, whole: bool) -> None:
    """Raises IncompatibleModels where a weight is no number: half-precision weights may have overflowed, and training
    turns all into NaN at its first step.

    Args:
        root: Where it is remembered that a file was read.
        whole: Read models of more than READ_BYTES, too.
    """
    paths = weight_files(folder)
    if not whole and sum(path.stat().st_size for path in paths) > READ_BYTES:
        return
    for path, name in zip(paths, _of_each(paths, root, lambda path: not_finite(path) or "", "finite"), strict=True):
        if name:
            raise IncompatibleModels(
                f"{path}: {name} holds a NaN or an infinity",
                remedy="take other weights; a model saved in float16 may have overflowed",
            )


def _of_each(paths: list[Path], root: Path | None, read: Callable[[Path], str], what: str = "") -> list[str]:
    remembered = _Remembered(root)
    found = in_threads(lambda path: remembered.of(path, read, what), paths)
    remembered.save()
    return found


def hub_fingerprint(reference: str) -> str:
    """Identity of a hub model: its name and the commit that its revision means on this machine.

    A revision that was never fetched here has no commit yet; it is identified by its own name until it is.
    """
    return digest(["hub", *hub_contents(reference).values()])


def hub_contents(reference: str) -> dict[str, str]:
    """A hub model's name and commit (or the revision's own name, where it was never fetched here)."""
    name, _, revision = reference.partition("@")
    return {"model": name, "commit": cached_commit(name, revision) or f"revision {revision or 'main'}{UNFETCHED}"}


def hub_folder(reference: str) -> Path:
    """The folder of a hub model, fetched where it is not here. Raises RegistryError."""
    return _snapshot(reference, local=False)


def require_whole(reference: str) -> None:
    """Raises RegistryError where only part of a hub model is on this machine."""
    if reference:
        _snapshot(reference, local=True)


def hub_refuses(reference: str) -> tuple[str, str] | None:
    """(why, what to do) where the hub says that it does not give this model; None where it would, or is not there."""
    name, _, revision = reference.partition("@")
    try:
        may_fetch(name, revision)
    except Exception as error:  # the client raises many kinds
        found = refusal(error)
        return found if found is not None and found[1] in (GATED, UNKNOWN) else None
    return None


def _snapshot(reference: str, *, local: bool) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = reference.partition("@")
    patterns = list(MODEL_FILES)
    try:
        found = snapshot_download(name, revision=revision or None, allow_patterns=patterns, local_files_only=local)
    except Exception as error:  # the client raises many kinds; each means: not to be had here
        what, remedy = refusal(error) or (str(error), AWAY)
        done = "is not here as a whole" if local else "could not be fetched from the hub"
        raise RegistryError(f"{reference!r} {done}: {what}", remedy=remedy) from error
    return Path(found)


class _Remembered:
    """What was found in files that have not changed since they were read whole: their digests, above all."""

    def __init__(self, root: Path | None) -> None:
        self.path = root / "work" / DIGESTS if root is not None else None
        self.known: dict[str, list[object]] = {}
        self.changed = False
        try:
            if self.path is not None:
                self.known = dict(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            pass  # it can be made again

    def of(self, path: Path, read: Callable[[Path], str], what: str = "") -> str:
        status = path.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        key = f"{path.resolve()}{what and f' {what}'}"
        entry = self.known.get(key)
        if isinstance(entry, list) and entry[:-1] == state:
            return str(entry[-1])
        found = read(path)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_SECONDS * 1e9:
            self.known[key] = [*state, found]
            self.changed = True
        return found

    def save(self) -> None:
        if self.path is None or not self.changed:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.known)
        except OSError:  # a root that cannot be written: hashed again next time
            pass
