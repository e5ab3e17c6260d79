"""Checks of the recipe's contents: tokenizers, prompt, sampling, lengths, data, distances between models."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasoning_pipeline.beside import LAUNCH
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.worlds import WORLDS
from reasoning_pipeline.doctor.subject import Finding, Subject
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.models.compatible import check_compatible
from reasoning_pipeline.models.outside import READ_BYTES
from reasoning_pipeline.models.weights import weight_files
from reasoning_pipeline.plan.compatibility import check_distillations, longest_rows
from reasoning_pipeline.recipe.rewarded import Rewarded
from reasoning_pipeline.rewards.config import MATH
from reasoning_pipeline.rewards.judge import RewardJudge
from reasoning_pipeline.workflows.reasoning.fields import GroupRelative

PROBE_TEXTS = (
    "What is 12345 + 678.90?",
    "Let $f(x)=\\frac{x^2-1}{x+1}$. Find $\\lim_{x\\to 1} f(x)$.\n\n",
    "The answer is \\boxed{-\\frac{3}{4}}.",
    "  two  spaces,\ttab,\r\nline end ",
    "求 $x$ 的值。 Größe, naïve, 😀 ∑∫√",
    "<think>\n\n</think>\n\n",
)
"""What tokenizers of one family have been seen to cut differently: digits, TeX, white space, other scripts, tags."""

PROBE_TIMEOUT_S = 600
SHOWN_PROMPT = 240
WRAPPER_CHARACTERS = 40
"""A beginning or end this long that all questions share is an instruction, not mathematics."""
AUDITED = 200


def tokenizers(subject: Subject) -> Iterator[Finding]:
    """Teacher and student agree on token ids, special and end tokens, template and how probe texts are cut."""
    check_distillations(subject.plan)
    pairs = _students_and_teachers(subject)
    for student, teacher in pairs:
        try:
            check_compatible(student, teacher, subject.plan.recipe.prompt)
        except PipelineError as error:
            yield Finding(level="error", check="tokenizers", message=error.message, remedy=error.remedy)
            continue
        yield _probe_finding(subject, student, teacher)
    if not pairs:
        yield Finding(level="ok", check="tokenizers", message="no two models from outside to compare here")


def _students_and_teachers(subject: Subject) -> list[tuple[Path, Path]]:
    """Each two different models that a step brings together and that both go back to folders on this machine, once."""
    found: dict[tuple[Path, Path], None] = {}
    for step in subject.plan.steps:
        inputs = {entry.field: entry for entry in step.inputs}
        if not {"policy", "teacher"} <= inputs.keys():
            continue
        student, teacher = (subject.origin(inputs[field]) for field in ("policy", "teacher"))
        if student is not None and teacher is not None and student != teacher:
            found[student, teacher] = None
    return list(found)


def _probe_finding(subject: Subject, student: Path, teacher: Path) -> Finding:
    ours, theirs = (PromptRenderer.from_folder(folder, subject.plan.recipe.prompt) for folder in (student, teacher))
    pair = f"{subject.called(student)} and {subject.called(teacher)}"
    for text in PROBE_TEXTS:
        cut = [r.tokenizer.encode(text, add_special_tokens=False).ids for r in (ours, theirs)]
        if cut[0] != cut[1]:
            return Finding(
                level="error",
                check="tokenizers",
                message=f"{pair} cut {text!r} differently: {cut[0][:8]} and {cut[1][:8]} …",
                remedy="give both the same tokenizer.json",
            )
    return Finding(
        level="ok",
        check="tokenizers",
        message=f"{pair}: same ids, end tokens {ours.stop_ids}, template and probe texts; "
        "servers are sent token ids and cut nothing themselves",
    )


def prompt(subject: Subject) -> Iterator[Finding]:
    """The prompt as a model reads it, shown once; whether its template knows a thinking mode."""
    folder = next((model.folder for model in subject.models() if model.folder is not None), None)
    if folder is None:
        yield Finding(level="ok", check="prompt", message="no model from outside is here to render it with")
        return
    config = subject.plan.recipe.prompt
    renderer = PromptRenderer.from_folder(folder, config)
    question = next(
        (p.question for step in subject.plan.steps for p in step.problems()[:1] if p.question), "What is 1+1?"
    )
    text = renderer.prompt(question)
    shown = text if len(text) <= SHOWN_PROMPT else f"{text[: SHOWN_PROMPT // 2]} … {text[-SHOWN_PROMPT // 2 :]}"
    switches = "enable_thinking" in renderer.chat_template
    if config.thinking and not switches:
        yield Finding(
            level="warning",
            check="prompt",
            message=f"prompt.thinking is on, but the template of {subject.called(folder)} has no such switch",
            remedy="leave prompt.thinking out, or choose a model that has the mode",
        )
    mode = f"thinking {'on' if config.thinking else 'off'}" if switches else "no thinking mode"
    yield Finding(level="ok", check="prompt", message=f"{len(renderer.prompt_ids(question))} tokens, {mode}: {shown!r}")


def sampling(subject: Subject) -> Iterator[Finding]:
    """Whether what is sampled is what importance ratios assume, and arms sample alike."""
    learning = [(step.name, step.config) for step in subject.plan.steps if isinstance(step.config, GroupRelative)]
    wrong = False
    for name, config in learning:
        if not config.correct_sampler_mismatch and subject.profile.precision != "float32":
            wrong = True
            yield Finding(
                level="warning",
                check="sampling",
                message=f"{name}: correct_sampler_mismatch is off; in {subject.profile.precision} trainer and server "
                "do not agree",
                remedy="leave correct_sampler_mismatch on",
            )
        if config.lora is not None and config.lora.dropout > 0:
            wrong = True
            yield Finding(
                level="warning",
                check="sampling",
                message=f"{name}: lora.dropout {config.lora.dropout} makes the trainer another policy than the one "
                "that was sampled",
                remedy="set lora.dropout to 0",
            )
    temperatures = {config.temperature: name for name, config in learning}
    if len(temperatures) > 1:
        wrong = True
        said = ", ".join(f"{name} at {value:g}" for value, name in temperatures.items())
        yield Finding(
            level="warning",
            check="sampling",
            message=f"rewarded steps sample at different temperatures: {said}",
            remedy="give all arms the same temperature, or do not compare them",
        )
    if not wrong:
        temperature = f"temperature {next(iter(temperatures)):g}, " if temperatures else ""
        message = f"{temperature}top-p 1, top-k off go with every training request; no default of a model is applied"
        yield Finding(level="ok", check="sampling", message=message)


def lengths(subject: Subject) -> Iterator[Finding]:
    """Prompt and completion limits against the positions that a model has."""
    for row in longest_rows(subject.plan):
        if row.beyond:
            yield Finding(level="error", check="lengths", message=row.said, remedy=row.remedy)
        else:
            message = f"{row.tokens:,} of {row.positions or 0:,} positions ({subject.called(row.model)})"
            yield Finding(level="ok", check="lengths", message=message)


def data(subject: Subject) -> Iterator[Finding]:
    """Every data set: readable, counted, without repetitions, wrappers and benchmark problems."""
    pools = subject.plan.ledger.pools
    for name, config in subject.plan.recipe.data.items():
        found = pools.set(name)
        if name in pools.not_read:
            yield Finding(
                level="error" if subject.offline else "warning",
                check="data",
                message=f"{name} was not read: {pools.not_read[name]}",
                remedy=f"{LAUNCH} prefetch {subject.plan.named}",
            )
            continue
        loaded = found.loaded
        held = ", ".join(f"{pool} {len(problems):,}" for pool, problems in found.pools.items())
        notes = [f"{len(found.problems):,} problems ({held})"]
        notes += [f"{loaded.repeated:,} repetitions merged"] if loaded.repeated else []
        notes += [f"{loaded.without_answer:,} without an answer left out"] if loaded.without_answer else []
        out = {suite: len({o.train_id for o in overlaps}) for suite, overlaps in found.overlaps.items() if overlaps}
        notes += [f"{count:,} that stand in {suite} left out" for suite, count in out.items()]
        yield Finding(level="ok", check="data", message=f"{name}: {', '.join(notes)}")
        if loaded.conflicts:
            first = loaded.conflicts[0]
            yield Finding(
                level="warning",
                check="data",
                message=f"{name}: {len(loaded.conflicts):,} questions have several answers and were set aside, "
                f"the first at {', '.join(first.places)}",
                remedy="mend the rows, or leave it so: they teach nothing",
            )
        for suite, why in found.unknown.items():
            yield Finding(
                level="warning",
                check="data",
                message=f"{name}: nobody looked whether problems stand in {suite}",
                remedy=why,
            )
        if config.source not in WORLDS:
            yield from _wrapper(name, [problem.question for problem in found.problems])
            yield from _references(subject, name, found.problems[:AUDITED])


def _wrapper(name: str, questions: list[str]) -> Iterator[Finding]:
    if len(questions) < 2:
        return
    for where, texts in (("begin", questions), ("end", [question[::-1] for question in questions])):
        shared = _common_beginning(min(texts), max(texts))  # sorted, all others lie between these two
        if len(shared) >= WRAPPER_CHARACTERS:
            words = shared if where == "begin" else shared[::-1]
            yield Finding(
                level="warning",
                check="data",
                message=f"{name}: all questions {where} with {words[:80]!r}",
                remedy="instructions belong in `prompt.suffix`; take a copy of the data without them",
            )


def _common_beginning(one: str, other: str) -> str:
    length = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def _references(subject: Subject, name: str, problems: list[Any]) -> Iterator[Finding]:
    """Whether the rewards that this data's labels are spent under can judge by its answers."""
    rewards: list[Any] = []
    for step in subject.plan.steps:
        pools = {spend.pool for spend in step.spends}
        if isinstance(step.config, Rewarded) and pools & set(subject.plan.recipe.data[name].pools):
            rewards += [step.config.reward] if step.config.reward not in rewards else []
    for reward in rewards or [MATH]:
        unread = RewardJudge(reward).usable(problems).set_aside
        if not unread:
            continue
        identity, reason = unread[0]
        yield Finding(
            level="warning",
            check="data",
            message=f"{name}: of the first {len(problems)} answers the reward cannot read {len(unread)}, "
            f"the first {identity}: {reason}",
            remedy="these problems are set aside and counted when their labels are spent",
        )


def distances(subject: Subject) -> Iterator[Finding]:
    """KL(teacher, teacher) about zero and KL(student, teacher) above it, on a probe, where both are here."""
    for student, teacher in _students_and_teachers(subject):
        names = subject.called(student), subject.called(teacher)
        size = sum(path.stat().st_size for folder in (student, teacher) for path in weight_files(folder))
        if size > READ_BYTES and not subject.with_models:
            yield Finding(
                level="ok",
                check="distances",
                message=f"not measured: {' and '.join(names)} are {size / 2**30:.1f} GiB (--models loads them)",
            )
            continue
        yield _distance(student, teacher, names)


def _distance(student: Path, teacher: Path, names: tuple[str, str]) -> Finding:
    program = [sys.executable, "-m", "reasoning_pipeline.doctor.distance", str(student), str(teacher)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        return Finding(
            level="error",
            check="distances",
            message=f"{' and '.join(names)} cannot be compared: {lines[-1]}",
            remedy="load them with transformers by hand; weights or configuration are damaged",
        )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    to_itself, to_student = found["teacher"], found["student"]
    message = (
        f"KL({', '.join(names)}) {to_student:.3g} nats a token "
        f"on three fixed sentences (C2 is of rollouts), "
        f"KL({names[1]}, itself padded) {to_itself:.1g}"
    )
    if not to_itself < found["tolerance"]:
        remedy = "padding or positions change what this model says: distillation would learn noise"
        return Finding(level="error", check="distances", message=message, remedy=remedy)
    if not to_student > found["tolerance"]:
        remedy = "student and teacher are the same model; check `policy` and `teacher`"
        return Finding(level="warning", check="distances", message=message, remedy=remedy)
    return Finding(level="ok", check="distances", message=message)


CHECKS = (tokenizers, prompt, sampling, lengths, data, distances)
