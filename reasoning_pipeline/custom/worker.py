"""A worker for one function of one's own: `python -m reasoning_pipeline.custom.worker SOURCE FUNCTION [each]`.

Runs behind the verifier's pool, with its limits. What the code prints goes to the step's log. Its mistakes come back
as a reply that says where they are; only what cannot be caught (a hang, a crash) costs the process.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.ownership import leave_with_owner
from reasoning_pipeline.custom.loading import fault_of, load_file
from reasoning_pipeline.verifier.worker import serve


def _load(source: str, function: str) -> Callable[..., Any]:
    module = load_file(Path(source)) if source.endswith(".py") else importlib.import_module(source)
    found: Callable[..., Any] = getattr(module, function)
    if not callable(found):
        raise TypeError(f"{function} is a {type(found).__name__}, not a function")
    return found


def main(source: str, function: str, manner: str = "") -> None:
    """Loads the code before it says that it is ready, so that no call's time pays for imports."""
    leave_with_owner()
    loaded: list[Callable[..., Any]] = []
    broken: list[str] = []

    def prepare() -> None:
        try:
            loaded.append(_load(source, function))
        except Exception as error:
            broken.append(fault_of(error, source))

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        if broken:
            return {"fault": broken[0]}
        (call,) = loaded
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
            return {"fault": fault_of(error, source), "at": len(done)}
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            return {"fault": f"returned a value that JSON cannot hold ({error}); plain numbers, texts, lists and dicts"}
        return {"value": value}

    serve(handle, prepare)


if __name__ == "__main__":
    main(*sys.argv[1:])
