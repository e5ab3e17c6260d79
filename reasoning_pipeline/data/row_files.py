"""Local files of rows, whatever their format: JSONL, JSON, CSV and Parquet, gzip around the first three, and folders
that `datasets` saved.

Nothing in a data file is executed: no pickle, no script of a data set. What is read is bounded, compressed or not.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from reasoning_pipeline.base.validation import suggested_file
from reasoning_pipeline.data.rows import MAX_LINE_BYTES, Row, jsonl_rows
from reasoning_pipeline.errors import DataError

FORMATS = (".jsonl", ".json", ".csv", ".parquet")
MAX_JSON_BYTES = 256 << 20
"""Of a JSON file, which is read whole; JSONL has no such bound."""
MAX_UNPACKED_BYTES = 16 << 30


def row_format(path: Path) -> str | None:
    """The format that a file's name says: one of FORMATS, behind which `.gz` may stand; None for none."""
    name = path.name.lower().removesuffix(".gz")
    found = next((ending for ending in FORMATS if name.endswith(ending)), None)
    return None if found == ".parquet" and path.name.lower().endswith(".gz") else found


def file_rows(path: Path, split: str | None = None) -> Iterator[Row]:
    """Rows of a file by its format, or of a folder that `datasets` saved.

    Args:
        split: Of a folder with several.

    Raises:
        DataError: No such file, another format, or a damaged row, with its place.
    """
    if path.is_dir():
        return _saved_rows(path, split)
    match row_format(path):
        case ".jsonl" if path.name.lower().endswith(".gz"):
            return jsonl_rows(path, _unpacked)
        case ".json":
            return _json_rows(path)
        case ".csv":
            return _csv_rows(path)
        case ".parquet":
            return _parquet_rows(path)
        case ".jsonl":
            return jsonl_rows(path)
    raise DataError(
        f"{path}: what format is this?",
        remedy=f"name the file by its format: {', '.join(FORMATS)} (.gz behind the first three), "
        "or give a folder that `datasets` saved",
    )


class _Bounded(io.RawIOBase):
    """What gzip unpacks, up to MAX_UNPACKED_BYTES: a few kilobytes may hold terabytes."""

    def __init__(self, path: Path) -> None:
        self.path, self.left = path, MAX_UNPACKED_BYTES
        self.packed = gzip.open(path, "rb")  # noqa: SIM115 - closed by `close`

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            chunk = self.packed.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.path}: not a whole gzip file ({error})", remedy="copy the file again") from None
        self.left -= len(chunk)
        if self.left < 0:
            most = f"{MAX_UNPACKED_BYTES >> 30} GiB"
            raise DataError(f"{self.path}: unpacks to more than {most}", remedy="divide the file")
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self.packed.close()
        super().close()


def _unpacked(path: Path) -> IO[bytes]:
    return io.BufferedReader(_Bounded(path), 1 << 16)


def _opened(path: Path) -> IO[bytes]:
    try:
        return _unpacked(path) if path.name.lower().endswith(".gz") else path.open("rb")
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(
            f"{path}: {reason}{suggested_file(path)}", remedy="a path in a recipe is relative to the recipe"
        ) from None


def _json_rows(path: Path) -> Iterator[Row]:
    """A list of objects; or an object of which one value is such a list."""
    with _opened(path) as file:
        text = file.read(MAX_JSON_BYTES + 1)
    if len(text) > MAX_JSON_BYTES:
        raise DataError(f"{path}: over {MAX_JSON_BYTES >> 20} MiB of JSON", remedy="write JSONL, one row a line")
    try:
        value = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})", remedy="one row a line belongs into .jsonl") from None
    if isinstance(value, dict):
        lists = [name for name, inner in value.items() if isinstance(inner, list)]
        if len(lists) != 1:
            raise DataError(f"{path}: {len(lists)} of its values are lists", remedy="write one list of objects")
        value = value[lists[0]]
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a list of objects, found {type(value).__name__}", remedy="write a list")
    for number, row in enumerate(value):
        if not isinstance(row, dict):
            raise DataError(f"{path}[{number}]: expected an object, found {type(row).__name__}", remedy="mend the row")
        yield f"{path}[{number}]", row


MORE = "\0more"
"""No column can be called so."""


def _csv_rows(path: Path) -> Iterator[Row]:
    """The first line names the columns. Every value is a text; an empty one is none."""
    csv.field_size_limit(MAX_LINE_BYTES)
    with _opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey=MORE, strict=True)
        try:
            names = reader.fieldnames or []
            if len(set(names)) < len(names):
                raise DataError(f"{path}: two columns are called alike ({', '.join(names)})", remedy="rename one")
            for row in reader:
                place = f"{path}:{reader.line_num}"
                if MORE in row or None in row.values():
                    what = "more" if MORE in row else "fewer"
                    raise DataError(
                        f"{place}: {what} values than the {len(names)} columns", remedy="quote values that hold commas"
                    )
                yield place, {name: value if value != "" else None for name, value in row.items()}
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error})", remedy="mend the line") from None


def _parquet_rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        said = f"{path}: no such file{suggested_file(path)}"
        raise DataError(said, remedy="a path in a recipe is relative to the recipe")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        remedy = "`pip install pyarrow`, or write JSONL"
        raise DataError(f"{path}: reading Parquet needs the package pyarrow", remedy=remedy) from None
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    yield f"{path}[{number}]", plain(row)
                    number += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not to be read as Parquet ({error})", remedy="write the file again") from None


def _saved_rows(path: Path, split: str | None) -> Iterator[Row]:
    try:
        import datasets

        table: Any = datasets.load_from_disk(str(path))
    except ImportError:
        remedy = "install it, or save the rows as JSONL"
        raise DataError(f"{path}: reading a saved data set needs the package datasets", remedy=remedy) from None
    except Exception as error:  # the library raises many kinds; each means: not to be had here
        remedy = "give a folder that `datasets` saved (`save_to_disk`), or a file"
        raise DataError(f"{path}: not a saved data set ({str(error).strip().splitlines()[0]})", remedy=remedy) from None
    if isinstance(table, dict):
        name = split if split is not None else next(iter(table)) if len(table) == 1 else "train"
        if name not in table:
            raise DataError(f"{path}: no split {name!r} (splits: {', '.join(table)})", remedy="name one: `split:`")
        table = table[name]
    for number, row in enumerate(table):
        yield f"{path}[{number}]", plain(dict(row))


def plain(value: Any) -> Any:
    """A value as JSON has it: dates and decimals as texts, numbers of numpy as Python's; bytes are left out."""
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items() if not isinstance(inner, bytes)}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta | decimal.Decimal):
        return str(value)
    item = getattr(value, "item", None)
    return plain(item()) if callable(item) else str(value)


def mapped(rows: Iterable[Row], source: str, function: str) -> Iterator[Row]:
    """Each row as a function of one's own makes it; rows that it makes None of are left out.

    Runs in a worker process, some hundred rows a call.

    Raises:
        DataError: A mistake of the function, with its line and the row.
    """
    from reasoning_pipeline.custom.calls import OwnFunction

    own = OwnFunction(source, function, time_limit_s=MAP_SECONDS, memory_limit_mb=4096, workers=1, each=True)
    try:
        for some in _batches(rows):
            answer = own.call([([row for _, row in some],)])[0]
            if answer.lost is not None or answer.fault is not None:
                place = some[answer.at][0] if answer.at is not None else f"{some[0][0]} to {some[-1][0]}"
                raise DataError(f"{place}: {own}: {answer.fault or answer.lost}", remedy="mend the function")
            for (place, _), made in zip(some, answer.value, strict=True):
                if made is None:
                    continue
                if not isinstance(made, dict):
                    what = f"{type(made).__name__} instead of a row"
                    raise DataError(f"{place}: {own} returned {what}", remedy="return a dict, or None to leave it out")
                yield place, made
    finally:
        own.close()


MAP_SECONDS = 60.0
"""Of one call over MAP_ROWS rows."""
MAP_ROWS = 256


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    for row in rows:
        some.append(row)
        if len(some) == MAP_ROWS:
            yield some
            some = []
    if some:
        yield some
