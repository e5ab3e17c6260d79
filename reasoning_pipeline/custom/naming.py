"""How a function of one's own is named, and what can be said of it without running it."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reasoning_pipeline.base.fingerprint import file_digest
from reasoning_pipeline.base.validation import suggested_file, suggestion

_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
_MODULE = re.compile(r"(?P<module>[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class FunctionName:
    """`rewards.py:brevity` or `package.module:brevity`.

    Example:
        FunctionName.parse("rewards.py:brevity") == FunctionName("rewards.py", "brevity", is_file=True)
    """

    source: str
    """The file as it was written, or a module's dotted name."""
    function: str
    is_file: bool

    @classmethod
    def parse(cls, text: str) -> FunctionName | None:
        """None where the text names no function."""
        if (found := _FILE.fullmatch(text)) is not None:
            return cls(found["file"], found["name"], is_file=True)
        if (found := _MODULE.fullmatch(text)) is not None:
            return cls(found["module"], found["name"], is_file=False)
        return None


def without_files(text: str, files: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """A function's name with its file called by its stem, and the files with it added.

    So a step's identity holds what the file says and not where it lies.

    Example:
        without_files("../rewards.py:brevity", {}) == ("rewards:brevity", {"rewards": "../rewards.py"})

    Raises:
        ValueError: Two files are called alike.
    """
    name = FunctionName.parse(text)
    if name is None or not name.is_file:
        return text, dict(files)
    stem = Path(name.source).stem
    if not stem.isidentifier():
        raise ValueError(f"{name.source}: rename the file so that Python could import it (letters, digits, '_')")
    if files.get(stem, name.source) != name.source:
        raise ValueError(f"two files are called {stem}: {files[stem]} and {name.source}; rename one")
    return f"{stem}:{name.function}", {**files, stem: name.source}


def module_digest(module: str) -> str | None:
    """sha256 of an installed module's source; None where there is no such module."""
    origin = module_file(module)
    return file_digest(origin) if origin is not None else None


def module_file(module: str) -> Path | None:
    """An installed module's source, found without importing the module itself."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return None
    return Path(found.origin)


def problems_of(path: Path, function: str) -> Iterator[str]:
    """What is wrong with a function's file, seen by reading it alone: a plan runs nobody's code."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except OSError as error:
        yield f"{path.name}: {error.strerror} (a relative path starts at the recipe's folder){suggested_file(path)}"
        return
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        yield f"{path.name}{line}: not valid Python ({getattr(error, 'msg', error)})"
        return
    names = set(_defined(tree.body))
    if function not in names and "*" not in names:
        shown = ", ".join(sorted(name for name in names if not name.startswith("_"))) or "none"
        yield f"{path.name} defines no {function!r}{suggestion(function, names)} (it defines: {shown})"


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    """Names that a module's own statements give, inside `if` and `try` too."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
            case ast.Assign(targets=targets):
                yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.If() | ast.Try() | ast.With():
                for part in ("body", "orelse", "finalbody"):
                    yield from _defined(getattr(statement, part, []))
                for handler in getattr(statement, "handlers", []):
                    yield from _defined(handler.body)
