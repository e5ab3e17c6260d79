"""A worker for one function of one's own: `python -m reasoning_pipeline.custom.worker SOURCE FUNCTION [each]`.

Runs behind the verifier's pool, with its limits. What the code prints goes to the step's log. Its mistakes come back
as a reply that says where they are; only what cannot be caught (a hang, a crash) costs the process.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from reasoning_pipeline.base.ownership import leave_with_owner
from reasoning_pipeline.verifier.worker import serve


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


def _load(source: str, function: str) -> Callable[..., Any]:
    module = load_file(Path(source)) if source.endswith(".py") else importlib.import_module(source)
    found: Callable[..., Any] = getattr(module, function)
    if not callable(found):
        raise TypeError(f"{function} is a {type(found).__name__}, not a function")
    return found


def _where(error: BaseException, source: str) -> str:
    """`rewards.py:12: ValueError: …`, the innermost line of the code's own file where there is one."""
    told = f"{type(error).__name__}: {error}"[:500]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    own = [frame for frame in frames if Path(frame.filename).name == Path(source).name]
    frame = next(reversed(own or [f for f in frames if "importlib" not in f.filename]), None)
    return f"{Path(frame.filename).name}:{frame.lineno}: {told}" if frame is not None else told


def main(source: str, function: str, manner: str = "") -> None:
    """Loads the code before it says that it is ready, so that no call's time pays for imports."""
    leave_with_owner()
    try:
        call = _load(source, function)
    except Exception as error:
        broken = {"fault": _where(error, source)}
        serve(lambda _: broken)
        return

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        done: list[Any] = []
        try:
            if manner == "each":
                for item in request["arguments"][0]:
                    done.append(call(item))
                value: Any = done
            else:
                value = call(*request["arguments"], **request["options"])
        except MemoryError:
            raise  # the pool's own reply: this process is spent
        except Exception as error:
            return {"fault": _where(error, source), "at": len(done)}
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            return {"fault": f"returned a value that JSON cannot hold ({error}); plain numbers, texts, lists and dicts"}
        return {"value": value}

    serve(handle)


if __name__ == "__main__":
    main(*sys.argv[1:])
