"""What a teacher on a server says of token sequences: the K best words at each completion position, in a compact form.

The route is `/v1/teacher_scores` (vllm/scoring.py). One line of JSON comes back for each sequence as it is scored, its
arrays as base64 of little-endian 32-bit numbers: 8 (K + 0.5) bytes a position before base64, nothing pickled.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasoning_pipeline.errors import ServerError, ServerLost
from reasoning_pipeline.rollouts.clients.client import RolloutClient

ROUTE = "/v1/teacher_scores"


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherScores:
    """The teacher's next-token distribution at each of T completion positions, as far as it was sent.

    Example: K = 2, one position: ids_TK=[[7, 31]], logprobs_TK=[[-0.2, -1.9]], sampled_T=[-1.9]; the tail, everything
    but words 7 and 31, has 1 - e^-0.2 - e^-1.9 = 0.03.
    """

    ids_TK: NDArray[np.int32]
    """The K most probable words; K = 0 where only the sampled token was asked for."""
    logprobs_TK: NDArray[np.float32]
    """Nats, at temperature 1."""
    sampled_T: NDArray[np.float32]
    """Log-probability of the token that stands there."""

    def encoded(self) -> dict[str, Any]:
        """As JSON values."""
        arrays = {"ids": self.ids_TK, "logprobs": self.logprobs_TK, "sampled": self.sampled_T}
        sizes = {"tokens": self.ids_TK.shape[0], "top_k": self.ids_TK.shape[1]}
        return sizes | {name: base64.b64encode(array.tobytes()).decode() for name, array in arrays.items()}

    @classmethod
    def decoded(cls, values: dict[str, Any]) -> TeacherScores:
        """Raises ValueError where the arrays are not of the sizes that the values name."""
        shape = values["tokens"], values["top_k"]

        def array(name: str, kind: str) -> NDArray[Any]:
            return np.frombuffer(base64.b64decode(values[name], validate=True), dtype=kind)

        return cls(
            ids_TK=array("ids", "<i4").reshape(shape),
            logprobs_TK=array("logprobs", "<f4").reshape(shape),
            sampled_T=array("sampled", "<f4").reshape(shape[0]),
        )


def score_completions(
    client: RolloutClient, sequences: Sequence[tuple[list[int], list[int]]], top_k: int
) -> Iterator[tuple[int, TeacherScores, str]]:
    """(index, scores, policy version) of each (prompt ids, completion ids), as they are scored, in any order.

    Raises:
        ServerLost: The server went away or fell silent.
        ServerError: It refused a sequence.
    """
    if not sequences:
        return
    body = {
        "sequences": [{"ids": prompt + completion, "start": len(prompt)} for prompt, completion in sequences],
        "top_k": top_k,
    }
    missing = set(range(len(sequences)))
    for line in client.stream(ROUTE, body):
        if "error" in line:
            if "EngineDead" in line["error"]:
                raise ServerLost(f"the engine of the teacher's server at {client.url} died ({line['error'][:200]})")
            length = sum(map(len, sequences[line["index"]]))
            raise ServerError(
                f"the teacher's server at {client.url} could not score a sequence of {length} tokens: {line['error']}",
                remedy="a sequence and one token more must fit into the server's context; see max_completion_tokens",
            )
        if "index" in line:
            missing.remove(line["index"])
            yield line["index"], TeacherScores.decoded(line), line["version"]
    if missing:
        raise ServerLost(f"the teacher's server at {client.url} ended its answer early")
