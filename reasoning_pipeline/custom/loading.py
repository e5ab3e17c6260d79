"""A Python file of one's own as a module, and where a mistake in it is."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

_HERE = str(Path(__file__).parent)


def load_file(path: Path, name: str | None = None) -> ModuleType:
    """A Python file as a module; what lies beside it can be imported by it. Whatever it raises comes out."""
    name = name or path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, f"{path} is no Python file"
    if (folder := str(path.parent.resolve())) not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def fault_of(error: BaseException, source: str) -> str:
    """`rewards.py:12: ValueError: …`, the innermost line of the code's own file where there is one."""
    told = f"{type(error).__name__}: {error}"[:500]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_HERE)]
    own = [frame for frame in frames if Path(frame.filename).name == Path(source).name]
    frame = next(reversed(own or [f for f in frames if "importlib" not in f.filename]), None)
    return f"{Path(frame.filename).name}:{frame.lineno}: {told}" if frame is not None else told
