"""The small frozen records that travel between modules. Plain data: no torch, no paths, no behaviour beyond JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal[
    "correct",
    "wrong",
    "no_box",
    "empty_box",
    "unclosed_box",
    "truncated",
    "unfinished_thinking",
    "unparsed",
    "too_long",
    "timeout",
    "error",
    "reference_unparsed",
    "unjudged",
]
"""What became of one answer. `timeout` and `error` are the verifier's own failures and are counted apart;
`reference_unparsed` is a fault of the data, never a wrong answer; `unjudged` is what a reward of one's own said None
of."""

FinishReason = Literal["stop", "length"]

ARTIFACT_KIND = r"[a-z][a-z0-9_]*"
"""What a kind of artifact may be called: `checkpoint`, `rollouts`, `evaluation`, `measurement`, or a stage's word."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One question with its checked answer.

    Example:
        Problem(id="arith-5f1c2e", question="3+5*2-1+4", answer="9", meta={"operations": 4})
    """

    id: str
    question: str
    answer: str
    meta: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, str]] | None = None
    """The whole conversation, `role` and `content` each, where there is more to it than one question."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the verifier thinks of one completion.

    Examples:
        Verdict(status="correct", reward=1.0, extracted="3/4", rule="exact", seconds=1e-5)
        Verdict(status="no_box", reward=0.0, extracted=None, rule="extraction", seconds=2e-6)
        Verdict(status="reference_unparsed", reward=None, extracted="7", rule="reference", seconds=1e-3)
    """

    status: Status
    reward: float | None
    """1.0 or 0.0 from the verifier, any number from other rewards; None when nothing could be judged. Absence is not
    zero."""
    extracted: str | None
    """The text inside the box that was judged, before normalisation."""
    rule: str
    """Which rule decided."""
    seconds: float

    @property
    def correct(self) -> bool:
        return self.status == "correct"


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One completion of one problem, as the engine wrote it.

    Example:
        Rollout(problem_id="arith-5f1c2e", sample=0, prompt_ids=[98, 4, 11], completion_ids=[8, 27, 97],
                text="8;...", logprobs=[-0.1, -0.02, -0.0], finish="stop", policy_version="sparse_grpo-1a2b:48")
    """

    problem_id: str
    sample: int
    """Index of this rollout in its problem's group, from 0."""
    prompt_ids: list[int]
    completion_ids: list[int]
    """Includes the end token where the policy wrote one."""
    text: str
    """The completion decoded without special tokens."""
    logprobs: list[float]
    """Log-probability (nats) of each completion token under the distribution it was drawn from."""
    finish: FinishReason
    policy_version: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How completions are drawn. Every field is always sent, so that no server default can slip in.

    Example:
        Decoding(temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, max_tokens=32, seed=0)
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0 is off."""
    min_p: float = 0.0
    max_tokens: int
    seed: int = 0
