"""Checks of model folders from outside: whole, of a kind that can be trained, and what they say unheard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reasoning_pipeline.beside import LAUNCH
from reasoning_pipeline.data.prompts import TEMPLATE_DATE, PromptRenderer
from reasoning_pipeline.doctor.subject import Finding, Level, Model, Subject
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.models.description import (
    CONFIG,
    GENERATION,
    declared_ends,
    dropouts,
    ignored_defaults,
    read_json,
)
from reasoning_pipeline.models.outside import hub_refuses, require_whole
from reasoning_pipeline.models.pins import SHOWN_DIGITS, follow_command
from reasoning_pipeline.plan.compatibility import check_outside, longest_rows


def models(subject: Subject) -> Iterator[Finding]:
    """Every model from outside: on this machine, whole, at the commit that the recipe uses, of a kind that can be
    trained, every weight a number."""
    for model in subject.models():
        used = f"(for {', '.join(model.steps[:3])}{', …' if len(model.steps) > 3 else ''})"
        if model.folder is None:
            yield _absent(subject, model, used)
            continue
        try:
            require_whole(model.commit)
            check_outside(subject.plan, model.folder, whole=subject.with_models, loads=True)
        except PipelineError as error:
            message = f"{model.reference} {used}: {error.message}"
            yield Finding(level="error", check="models", message=message, remedy=error.remedy)
            continue
        at = f" at {model.commit.partition('@')[2][:SHOWN_DIGITS]}" if "@" in model.commit else ""
        yield Finding(level="ok", check="models", message=f"{model.reference} is here{at} {used}")
    for move in subject.plan.pins.moved(ask=not subject.offline):
        level: Level = "ok" if move.same else "warning"
        remedy = f"to follow: {follow_command(subject.plan.named)}"
        yield Finding(level=level, check="models", message=str(move), remedy=remedy)


def _absent(subject: Subject, model: Model, used: str) -> Finding:
    refused = None if subject.offline else hub_refuses(model.commit)
    return Finding(
        level="error" if subject.offline or refused else "warning",
        check="models",
        message=f"{model.reference} is not on this machine {used}"
        + (f": {refused[0]}" if refused else "" if subject.offline else "; its step would download it"),
        remedy=refused[1] if refused else f"{LAUNCH} prefetch {subject.plan.named}",
    )


def descriptions(subject: Subject) -> Iterator[Finding]:
    """What model folders say beside their weights and nobody here heeds: told once, so that nobody is surprised."""
    folders = {folder: None for model in subject.models() if (folder := model.folder) is not None}
    told = False
    for folder in folders:
        for message in _ignored(subject, folder):
            told = True
            yield Finding(level="ok", check="descriptions", message=f"{subject.called(folder)}: {message}")
    if not told:
        yield Finding(level="ok", check="descriptions", message="no model asks for anything that is ignored here")


def _ignored(subject: Subject, folder: Path) -> Iterator[str]:
    if ignored := ignored_defaults(folder):
        said = ", ".join(f"{name} {value}" for name, value in ignored.items())
        yield f"of {GENERATION} only end tokens count; ignored: {said}"
    if found := dropouts(read_json(folder / CONFIG)):
        said = ", ".join(f"{name} {value:g}" for name, value in found.items())
        yield f"dropout is switched off while training ({said}); what is published keeps the setting"
    settings = read_json(folder / "tokenizer_config.json")
    if not settings.get("pad_token"):
        yield "no pad token; rows are filled with the one that config.json names, else with the end token"
    longest = settings.get("model_max_length")
    rows = [row for row in longest_rows(subject.plan) if row.model == folder.name]
    if isinstance(longest, int | float) and any(row.tokens > longest for row in rows):
        yield f"model_max_length {longest:g} of the tokenizer is shorter than rows of this recipe; nothing is cut there"
    if not (folder / "tokenizer.json").is_file():
        return
    renderer = PromptRenderer.from_folder(folder, subject.plan.recipe.prompt)
    if renderer.asks_for_the_date:
        yield f"the chat template asks for today's date and is always told {TEMPLATE_DATE:%d %b %Y}"
    ends = read_json(folder / CONFIG).get("eos_token_id")
    others = sorted(set([ends] if isinstance(ends, int) else ends or []) - set(renderer.stop_ids))
    if others:
        yield (
            f"config.json names {others} as end tokens, completions end at {renderer.stop_ids} (the tokenizer's, and "
            f"those of {GENERATION}: {declared_ends(folder) or 'none'})"
        )


CHECKS = (models, descriptions)
