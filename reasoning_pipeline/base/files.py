"""Files that survive a crash: written aside, synced, renamed. And what to say when the storage refuses."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any


def shipped(package: str, folder: str = "") -> Path:
    """The folder of package data that an installed package and a checkout both have."""
    return Path(str(resources.files(package))) / folder


def write_json(path: Path, value: object) -> None:
    """As `write_text`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write aside, sync, rename: a reader sees the old file or the new one, never half of it."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A CSV with a heading; what a row has not stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula is quoted: problem ids come from files of others."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def contents(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name inside the folder, path) of everything below it that is no folder, links included, in a stable order."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix(), path


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.lstat().st_size for _, path in contents(folder))


def rename_folder(source: Path, final: Path) -> bool:
    """False where something stands at `final`."""
    try:
        source.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def umask() -> int:
    """Can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def share_with_group(folder: Path) -> None:
    """Where a folder is meant for its group (`chmod g+ws`), what this process and its children make is writable for the
    group too, whatever the umask of whoever runs it."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return
    if mode & stat.S_ISGID and mode & stat.S_IWGRP:
        os.umask(umask() & ~0o070)


def sync(path: Path) -> None:
    """Until this returns, a file (or a folder's list of names) may be lost with the machine's power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_message(error: OSError, name: str, action: str = "published") -> str:
    what = {
        errno.ENOSPC: "no space left",
        errno.EDQUOT: "the disk quota is used up",
        errno.EROFS: "the registry is read-only",
        errno.EACCES: "permission denied",
    }
    return f"{name}: could not be {action}: {what.get(error.errno or 0, str(error))}"


def storage_remedy(error: OSError, kept: str = "finished training is kept in the work folder") -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"free space and run again; {kept}"
    return f"make the folder writable and run again; {kept}"
