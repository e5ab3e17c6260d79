"""One verifier of each profile for all tests of this folder, over one worker, closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from reasoning_pipeline.records import Verdict
from reasoning_pipeline.verifier import Verifier

Judge = Callable[..., Verdict]


@pytest.fixture(scope="session")
def verifiers() -> Iterator[dict[str, Verifier]]:
    made = {profile: Verifier(profile, workers=1) for profile in ("strict", "lenient")}
    made["lenient"].pool = made["strict"].pool
    yield made
    for verifier in made.values():
        verifier.close()


@pytest.fixture(scope="session")
def judge(verifiers: dict[str, Verifier]) -> Judge:
    """The verdict on one boxed answer: judge(reference, answer, profile)."""

    def judge_one(reference: str, answer: str, profile: str = "strict") -> Verdict:
        return verifiers[profile].judge([reference], [f"So it is $\\boxed{{{answer}}}$."])[0]

    return judge_one
