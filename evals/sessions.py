"""One rollout server for all checkpoints of a call: started when the first sample is needed, weights swapped after.

An evaluation that finds all its samples on disk starts no server at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest, Sampler


class Sessions:
    """A context that owns the server, if one was needed.

    Example:
        with Sessions(hardware=None, server=None) as sessions:
            sessions.need(model.folder, 1024)
            sampler = sessions.sampler(model.folder, model.name)   # nothing has started yet
    """

    def __init__(self, *, hardware: str | None, server: str | None) -> None:
        self._hardware, self._server = hardware, server
        self._max_model_len = 0
        self._folders: dict[Path, None] = {}
        self._open: ExitStack | None = None
        self._live: Any = None
        self._folder: Path | None = None

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def need(self, folder: Path, tokens: int) -> None:
        """The server must be able to hold this checkpoint; prompts and answers have this many tokens together."""
        self._folders[folder] = None
        self._max_model_len = max(self._max_model_len, tokens)

    def sampler(self, folder: Path, label: str) -> Sampler:
        return _Lazy(lambda: self._holding(folder, label))

    def close(self) -> None:
        opened, self._open, self._live, self._folder = self._open, None, None, None
        if opened is not None:
            opened.close()

    def _holding(self, folder: Path, label: str) -> Sampler:
        """The live sampler with this checkpoint's weights in it."""
        if self._live is not None and self._folder != folder:
            load = getattr(self._live, "load_checkpoint", None)
            try:
                if load is None:
                    self.close()
                else:
                    self._folder = None  # unknown, should the load fail half way
                    load(folder)
                    self._folder = folder
            except IncompatibleModels:  # another architecture needs a server of its own
                self.close()
        if self._live is None:
            from reasoning_pipeline.rollouts.session import rollout_session

            stack = ExitStack()
            session = rollout_session(
                folder,
                hardware=self._hardware,
                server=self._server,
                max_model_len=self._max_model_len,
                label=label,
                others=tuple(self._folders),
            )
            self._live = stack.enter_context(session)
            self._open, self._folder = stack, folder
        return self._live


class _Lazy:
    """A Sampler that looks for its engine when it is first asked."""

    def __init__(self, find: Callable[[], Sampler]) -> None:
        self._find = find

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        decoding: Decoding,
        *,
        stop_ids: Sequence[int],
        on_result: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        return self._find().generate(requests, decoding, stop_ids=stop_ids, on_result=on_result)
