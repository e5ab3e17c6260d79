"""Sample, judge, store, summarise: one checkpoint on one or several suites.

Each sample is a request of its own with a seed made from (seed, suite, problem, sample). That is what makes "same seed,
same samples" and "continue without sampling twice" one property: whatever is missing can be asked for alone. Prefix
caching gives back what n completions per request would have saved. All suites go to the engine in one call, so that
it is never idle while the last long answers of one suite finish.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from reasoning_pipeline.base.behind import Behind
from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.base.locks import Busy, held
from reasoning_pipeline.beside import EVALS
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.suites.loading import Suite
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Decoding, Problem
from reasoning_pipeline.rewards.judge import RewardJudge
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest, Sampler

from . import results
from .answer_classes import SpelledAlike, answer_classes
from .judging import Finished, judging_thread
from .progress import SoFar
from .results import EvaluationResult, write_tables
from .samples import Sample, SampleFile, add_problems, sample_seed
from .summary import Summary, summarise

Profile = Literal["strict", "lenient"]

FORMAT = 1
"""Of the folder's files; raised when their meaning changes."""

WAVE_TOKENS, LEAST_WAVE = 64_000_000, 1_024
"""A sampler returns what it wrote, ids and log-probabilities, about 70 bytes a token. Waves of at most so many tokens
keep that under 5 GB, and each is still several times what an engine has in flight."""

IDENTITY = (
    *("format", "suite", "checkpoint", "fingerprint", "prompt", "first_prompt", "digests"),
    *("decoding", "data", "verifier", "profile", "reward"),
)
"""Settings that must be the same for a run to be continued."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One suite of this call with its place on disk."""

    suite: Suite
    folder: Path
    file: SampleFile
    settings: dict[str, Any]
    missing: list[tuple[Problem, int]]
    found: int
    reward: RewardJudge | None


def evaluate(
    *,
    suites: Sequence[Suite],
    renderer: PromptRenderer,
    sampler: Sampler,
    decoding: Decoding,
    samples: int,
    out: Path,
    profile: Profile = "lenient",
    checkpoint: str,
    fingerprint: str | None = None,
    preset: str | None = None,
    progress: Callable[[SoFar], None] | None = None,
) -> EvaluationResult:
    """Asks every problem `samples` times and writes everything under `out` (layout: evals/results.py).

    Killed and called again with the same settings it continues; with more samples it adds to what is there. Raises
    DataError where `out` holds a run with other settings, and lets the sampler's ServerLost and ServerError through
    after everything that had finished is stored.
    """
    if samples < 1:
        raise DataError(f"samples: at least 1 (got {samples})", remedy="ask every problem at least once")
    if not suites:
        raise DataError("no suite to evaluate", remedy="name at least one suite")
    names = [suite.name for suite in suites]
    if len(set(names)) < len(names):
        raise DataError(f"two suites are called {max(names, key=names.count)}", remedy="rename the file of one of them")

    from reasoning_pipeline.verifier import shared_verifier, verifier_versions

    strict, lenient = shared_verifier("strict"), shared_verifier("lenient")
    out = Path(out)
    with only_writer(out):
        manner = {
            "checkpoint": checkpoint,
            "fingerprint": fingerprint,
            "preset": preset,
            "prompt": renderer.config.model_dump(),
            "digests": renderer.digests,
            "decoding": asdict(decoding),
            "stop_ids": renderer.stop_ids,
            "verifier": verifier_versions(),
            "profile": profile,
        }
        parts = [_open_part(suite, renderer, manner, out, samples) for suite in suites]
        found, began = sum(part.found for part in parts), time.monotonic()
        so_far = SoFar(done=found, total=sum(len(suite.problems) for suite in suites) * samples, found=found)

        def stored(item: Finished, sample: Sample) -> None:
            nonlocal so_far
            so_far = so_far.and_one(sample, item.file.profile, time.monotonic() - began)
            if progress is not None:
                progress(so_far)

        with judging_thread(strict, lenient, stored) as judging:
            _sample_missing(parts, renderer, sampler, decoding, judging)
        judge = strict if profile == "strict" else lenient
        summaries = {part.suite.name: _summarise(part, samples, profile, checkpoint, judge) for part in parts}
        for part in parts:
            if part.reward is not None:
                part.reward.close()
        write_report(out)
    return EvaluationResult(checkpoint=checkpoint, folder=out, summaries=summaries)


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(held(out / ".lock", f"{out}: another evaluation is writing here"))
        except Busy as busy:
            raise DataError(busy.message, remedy="wait for it, or give another --out") from None
        yield


def _open_part(suite: Suite, renderer: PromptRenderer, manner: dict[str, Any], out: Path, samples: int) -> _Part:
    """Checks that the folder is new or a run alike, and finds what is still missing."""
    folder = out / suite.name
    first_prompt = renderer.prompt(suite.problems[0])
    settings = {
        "format": FORMAT,
        "suite": suite.name,
        "title": suite.title,
        **manner,
        "first_prompt": first_prompt,
        "opens_thinking": first_prompt.rstrip().endswith("<think>"),
        "data": {"digest": suite.digest, "rows": suite.rows},
        "source": suite.source,
        "set_aside": [list(pair) for pair in suite.set_aside],
        "notes": list(suite.notes),
    }
    if (reward := suite.judge()) is not None:
        # Columns that a function is handed are not in the data's digest, which must be that of earlier versions.
        settings["reward"] = reward.settings() | {"columns": digest([json.dumps(p.meta) for p in suite.problems])}
        settings["reward_files"] = suite.reward_files
    path = folder / "settings.json"
    if path.is_file():
        _refuse_other_settings(path, results.read_json(path), settings)
    folder.mkdir(exist_ok=True)
    write_json(path, settings)
    add_problems(folder / "problems.jsonl", suite.problems)
    file = SampleFile(folder / "samples.jsonl", manner["profile"])
    file.cut_torn_line()
    there = set(file.read())
    wanted = [(problem, index) for problem in suite.problems for index in range(samples)]
    missing = [(problem, index) for problem, index in wanted if (problem.id, index) not in there]
    return _Part(
        suite=suite,
        folder=folder,
        file=file,
        settings=settings,
        missing=missing,
        found=len(wanted) - len(missing),
        reward=reward,
    )


def _refuse_other_settings(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    differ = results.settings_that_differ(before, now, IDENTITY)
    if differ:
        raise DataError(
            f"{path.parent} holds samples of a run with other settings:\n"
            + "\n".join(f"  - {line}" for line in differ),
            remedy=f"give another --out (or, where only the verifier differs, `{EVALS} regrade RUN --write`)",
        )


def _sample_missing(
    parts: Sequence[_Part],
    renderer: PromptRenderer,
    sampler: Sampler,
    decoding: Decoding,
    judging: Behind[Finished],
) -> None:
    asked: list[tuple[_Part, Problem, int]] = [(part, *wanted) for part in parts for wanted in part.missing]
    if not asked:
        return
    encoded: dict[int, list[int]] = {}
    """One list a problem, shared by its requests."""
    for _, problem, _ in asked:
        if id(problem) not in encoded:
            encoded[id(problem)] = renderer.prompt_ids(problem)
    requests = [
        GenerationRequest(
            prompt_ids=encoded[id(problem)],
            seed=sample_seed(decoding.seed, part.suite.name, problem.id, index),
        )
        for part, problem, index in asked
    ]

    def on_result(start: int, offset: int, completions: list[Completion]) -> None:
        number = start + offset
        part, problem, index = asked[number]
        judging.put(
            Finished(
                file=part.file,
                problem=problem,
                sample=index,
                seed=requests[number].seed,
                text=renderer.decode(completions[0].token_ids),
                completion=completions[0],
                opens_thinking=part.settings["opens_thinking"],
                reward=part.reward,
            )
        )

    wave = max(LEAST_WAVE, WAVE_TOKENS // decoding.max_tokens)
    for start in range(0, len(requests), wave):
        sampler.generate(
            requests[start : start + wave],
            decoding,
            stop_ids=renderer.stop_ids,
            on_result=partial(on_result, start),
        )


def _summarise(part: _Part, samples: int, profile: Profile, checkpoint: str, judge: Any) -> Summary:
    summary = summarise_folder(
        part.folder, part.suite, part.settings, samples=samples, profile=profile, checkpoint=checkpoint, judge=judge
    )
    write_json(part.folder / "summary.json", summary.as_json())
    return summary


def summarise_folder(
    folder: Path, suite: Suite, settings: dict[str, Any], *, samples: int, profile: Profile, checkpoint: str, judge: Any
) -> Summary:
    """Reads the suite's samples back and summarises the first `samples` of each problem.

    Raises DataError where one is missing: the sampler returned without delivering it.
    """
    stored = SampleFile(folder / "samples.jsonl", profile).read()
    wanted = [(problem.id, index) for problem in suite.problems for index in range(samples)]
    if missing := sum(key not in stored for key in wanted):
        raise DataError(
            f"{folder}: {missing:,} of {len(wanted):,} samples are missing",
            remedy="run the same command again; only they are drawn",
        )
    samples_of = {p.id: [stored[p.id, index] for index in range(samples)] for p in suite.problems}
    classes = answer_classes(samples_of, profile, SpelledAlike() if settings.get("reward") else judge)
    return summarise(
        suite, samples_of, classes, checkpoint=checkpoint, profile=profile, samples=samples, settings=settings
    )


def write_report(out: Path) -> None:
    """Tables and the HTML page over every finished suite in the folder, those of earlier calls too."""
    from .report import write_page

    everything = results.load(out, results.finished_suites(out))
    write_tables(everything)
    write_page(everything)
