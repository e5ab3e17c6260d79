"""Teachers that are not in the trainer: asked on a server, or read from a rollout set. One interface for the loss.

The third placement, the teacher's weights in the trainer, needs no interface: the exact divergence over the whole
vocabulary compares two models' hidden states tile by tile (trl_bridge/distillation.py).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from reasoning_pipeline.errors import PipelineError, StaleWeights
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.clients.completions import Completion
from reasoning_pipeline.rollouts.clients.fleet import RolloutFleet
from reasoning_pipeline.rollouts.clients.scoring import TeacherScores, score_completions

Sequences = Sequence[tuple[list[int], list[int]]]
"""(prompt ids, completion ids) of each rollout."""

Key = tuple[int, ...]
"""A prompt and its completion."""

REQUESTS_AT_ONCE = 4
ROWS_PER_REQUEST = 64


class Teacher(Protocol):
    """Says what it thinks of completions."""

    top_k: int

    def scores(self, sequences: Sequences) -> list[TeacherScores]:
        """In the order of the sequences."""
        ...


class ServerTeacher:
    """A teacher on a server. Told of a group when it is finished, it scores while others are being written.

    Args:
        client: Of several servers, each is asked in turn.
        version: What the server calls the teacher's weights; an answer from any other is refused.
        top_k: 0 asks for the sampled token's log-probability alone.
    """

    def __init__(self, client: RolloutClient | RolloutFleet, *, version: str, top_k: int) -> None:
        self.client, self.version, self.top_k = client, version, top_k
        self.scored_ahead = 0
        """Completions whose scoring had begun before it was asked for."""
        self._begun: dict[Key, Future[dict[Key, TeacherScores]]] = {}
        self._lock, self._turns = threading.Lock(), itertools.count()
        self._threads = ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="teacher")

    def begin(self, prompt_ids: list[int], group: list[Completion]) -> None:
        """Score a finished group in the background."""
        self._submit([(prompt_ids, completion.token_ids) for completion in group])

    def scores(self, sequences: Sequences) -> list[TeacherScores]:
        """Raises ServerLost, or StaleWeights where the server no longer holds the teacher."""
        keys = [_key(*sequence) for sequence in sequences]
        with self._lock:
            missing = [pair for pair, key in zip(sequences, keys, strict=True) if key not in self._begun]
        self.scored_ahead += len(keys) - len(missing)
        for start in range(0, len(missing), ROWS_PER_REQUEST):
            self._submit(missing[start : start + ROWS_PER_REQUEST])
        with self._lock:
            futures = [self._begun[key] for key in keys]
        found = [future.result()[key] for future, key in zip(futures, keys, strict=True)]
        with self._lock:
            for key in keys:
                self._begun.pop(key, None)
        return found

    def _submit(self, sequences: Sequences) -> None:
        future = self._threads.submit(self._ask, sequences)
        with self._lock:
            for sequence in sequences:
                self._begun.setdefault(_key(*sequence), future)

    def _ask(self, sequences: Sequences) -> dict[Key, TeacherScores]:
        found = {}
        servers = self.client.servers
        server = servers[next(self._turns) % len(servers)]
        for index, scores, version in score_completions(server, sequences, self.top_k):
            if version != self.version:
                raise StaleWeights(
                    f"the teacher's server at {server.url} holds {version}, not {self.version}",
                    remedy="another program pushes weights to this server; give each run its own",
                )
            found[_key(*sequences[index])] = scores
        return found


class CachedTeacher:
    """A teacher whose K best words were stored with the rollouts it wrote; its weights are not needed.

    Args:
        rows: Of a rollout set made with `top_k`.
        top_k: At most this many of the stored words are used.
    """

    def __init__(self, folder: Path, rows: list[dict[str, Any]], top_k: int) -> None:
        stored = {row["teacher"]["top_k"] if "teacher" in row else 0 for row in rows}
        if min(stored, default=0) == 0:
            raise PipelineError(
                f"the rollout set {folder.name} holds no distributions of its teacher, which `teacher: cached` learns "
                "from",
                remedy="give the teacher_rollouts step a `top_k` (64, say), or run with `teacher: trainer` in the "
                "hardware profile",
            )
        self.top_k = min(top_k, *stored)
        self._rows = {_key(row["prompt_ids"], row["completion_ids"]): row["teacher"] for row in rows}

    def scores(self, sequences: Sequences) -> list[TeacherScores]:
        """Decoded when asked for: a set is larger in memory than in its file."""
        whole = [TeacherScores.decoded(self._rows[_key(*sequence)]) for sequence in sequences]
        return [
            TeacherScores(
                ids_TK=scores.ids_TK[:, : self.top_k],
                logprobs_TK=scores.logprobs_TK[:, : self.top_k],
                sampled_T=scores.sampled_T,
            )
            for scores in whole
        ]


def _key(prompt_ids: list[int], completion_ids: list[int]) -> Key:
    return (*prompt_ids, -1, *completion_ids)
