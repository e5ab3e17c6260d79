"""Stored answers graded again, with today's verifier: `python -m evals regrade RUN [--write]`.

Sampling is dear and grading cheap, so a new verifier never needs new samples. Without --write nothing on disk changes;
with it verdicts, settings, summary and report are written anew and the old samples stay as `samples.before.jsonl`.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from reasoning_pipeline.base.command_line import Parser
from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.beside import EVALS
from reasoning_pipeline.data.suites.loading import Suite
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.rewards.config import Reward
from reasoning_pipeline.rewards.judge import RewardJudge
from reasoning_pipeline.rollouts.clients.completions import Completion

from .judging import Finished, judge
from .results import read_json
from .run import only_writer, summarise_folder, write_report
from .samples import Sample, SampleFile, read_problems

BATCH = 2_048


@dataclass(frozen=True, kw_only=True)
class Change:
    """A sample whose verdict is not what it was."""

    suite: str
    problem_id: str
    sample: int
    profile: str
    before: str
    after: str
    extracted: str | None
    reference: str


def regrade(folder: Path, *, write: bool = False) -> tuple[int, list[Change]]:
    """Judges every stored sample again. Returns how many there are and what changed in either profile."""
    suites = sorted(path.parent for path in folder.glob("*/settings.json"))
    if not suites:
        raise DataError(f"{folder}: no evaluation here", remedy=f"give the folder that was --out of `{EVALS}`")
    count, changes = 0, []
    with only_writer(folder):
        for suite in suites:
            graded, found = _regrade_suite(suite, write)
            count += graded
            changes += found
        if write:
            write_report(folder)
    return count, changes


def _regrade_suite(folder: Path, write: bool) -> tuple[int, list[Change]]:
    from reasoning_pipeline.verifier import shared_verifier, verifier_versions

    settings = read_json(folder / "settings.json")
    profile = settings["profile"]
    strict, lenient = shared_verifier("strict"), shared_verifier("lenient")
    problems = {problem.id: problem for problem in read_problems(folder / "problems.jsonl")}
    file = SampleFile(folder / "samples.jsonl", profile)
    before = list(file.read().values())
    if orphan := next((s.problem_id for s in before if s.problem_id not in problems), None):
        raise DataError(f"{folder}: samples of {orphan}, which problems.jsonl does not list", remedy="restore the file")
    reward = None
    if "reward" in settings:
        parts = TypeAdapter(Reward).validate_python(settings["reward"]["parts"])
        reward = RewardJudge(parts, settings.get("reward_files"))
    waiting = [
        Finished(
            file=file,
            problem=problems[s.problem_id],
            sample=s.sample,
            seed=s.seed,
            text=s.text,
            # Only the finish and the length matter to a verdict; ids and log-probabilities are not kept.
            completion=Completion(
                token_ids=[0] * s.tokens, logprobs=[], finish=s.finish, policy_version=s.policy_version
            ),
            opens_thinking=settings["opens_thinking"],
            reward=reward,
        )
        for s in before
    ]
    after = [s for i in range(0, len(waiting), BATCH) for s in judge(waiting[i : i + BATCH], strict, lenient)]
    changes = [
        Change(
            suite=settings["suite"],
            problem_id=old.problem_id,
            sample=old.sample,
            profile=name,
            before=old.judged(name).status,
            after=new.judged(name).status,
            extracted=new.extracted,
            reference=problems[old.problem_id].answer,
        )
        for old, new in zip(before, after, strict=True)
        for name in ("strict", "lenient")
        if old.judged(name).status != new.judged(name).status
    ]
    if write:
        shutil.copyfile(file.path, file.path.with_name("samples.before.jsonl"))
        file.replace(after)
        settings |= {"verifier": verifier_versions()}
        write_json(folder / "settings.json", settings)
        _write_summary(folder, settings, after)
    return len(before), changes


def _write_summary(folder: Path, settings: dict, samples: Sequence[Sample]) -> None:
    """The summary over what the old one covered. A run that was never finished has none, and gets none."""
    path = folder / "summary.json"
    if not path.is_file():
        return
    old = read_json(path)
    problems = {problem.id: problem for problem in read_problems(folder / "problems.jsonl")}
    suite = Suite(
        name=settings["suite"],
        title=settings["title"],
        problems=tuple(problems[name] for name in old["scores"]),
        set_aside=tuple((name, reason) for name, reason in settings["set_aside"]),
        rows=settings["data"]["rows"],
        digest=settings["data"]["digest"],
        source=settings["source"],
        max_tokens={},
        notes=tuple(old["notes"]),
        known_issues=old.get("known_issues", {}),
    )
    from reasoning_pipeline.verifier import shared_verifier

    summary = summarise_folder(
        folder,
        suite,
        settings,
        samples=old["samples"],
        profile=settings["profile"],
        checkpoint=settings["checkpoint"],
        judge=shared_verifier(settings["profile"]),
    )
    write_json(path, summary.as_json())


def main(argv: Sequence[str]) -> int:
    parser = Parser(
        prog=f"{EVALS} regrade", description="Grade the stored answers of a run again and show what changes."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help=f"folder written by `{EVALS} --out`")
    parser.add_argument("--write", action="store_true", help="keep the new verdicts: samples, summary, report")
    parser.add_argument(
        "--show", type=int, default=20, metavar="N", help="changed samples to list (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    count, changes = regrade(arguments.run, write=arguments.write)
    kinds = Counter((change.suite, change.profile, change.before, change.after) for change in changes)
    for (suite, profile, before, after), times in kinds.most_common():
        print(f"{times:6,}  {suite}  {profile}: {before} → {after}")
    for change in changes[: arguments.show]:
        print(
            f"  {change.suite} {change.problem_id} #{change.sample} {change.profile}: {change.before} → {change.after}"
            f"  read {change.extracted!r}, reference {change.reference!r}"
        )
    print(
        f"{count:,} samples graded again, {len(changes):,} verdicts changed"
        + ("" if arguments.write else "; nothing written")
    )
    return 0
