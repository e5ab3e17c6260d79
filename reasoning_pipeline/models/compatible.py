"""Whether a student and a teacher may meet in a distillation. Without torch, so that a plan can ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.outside import require_weights

if TYPE_CHECKING:
    from reasoning_pipeline.data.prompts import PromptRenderer


def check_compatible(student: Path, teacher: Path, prompt: PromptConfig) -> None:
    """Refuse a distillation between models that do not speak token for token the same. No torch needed.

    Compares vocabulary width, token ids, special tokens, end tokens and chat template; a width alone (which is what
    trainers usually compare) says nothing about whether id 17 means the same on both sides.

    Raises:
        IncompatibleModels: Names the first difference.
    """
    from reasoning_pipeline.data.prompts import PromptRenderer  # jinja2: most plans have no folders to compare yet

    ours, theirs = PromptRenderer.from_folder(student, prompt), PromptRenderer.from_folder(teacher, prompt)
    difference = (
        _differ("vocab_size", _vocabulary_size(student), _vocabulary_size(teacher))
        or _first_token_difference(ours, theirs)
        or _differ("end tokens", ours.stop_ids, theirs.stop_ids)
        or _template_difference(ours, theirs)
    )
    if difference:
        raise IncompatibleModels(
            f"{student.name} (student) and {teacher.name} (teacher) cannot share a distillation: {difference}",
            remedy="distillation compares next-token distributions id by id; take a teacher of the student's family, "
            "or give both the same tokenizer and chat template",
        )


def _vocabulary_size(folder: Path) -> int:
    require_weights(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    if size is None:
        raise IncompatibleModels(f"{folder}/config.json: no vocab_size", remedy="this is not a language model's folder")
    return int(size)


def _first_token_difference(ours: PromptRenderer, theirs: PromptRenderer) -> str | None:
    if ours.digests["tokenizer"] == theirs.digests["tokenizer"]:
        return None
    our_ids, their_ids = (r.tokenizer.get_vocab(with_added_tokens=True) for r in (ours, theirs))
    for token, identity in sorted(our_ids.items(), key=lambda item: item[1]):
        if their_ids.get(token) != identity:
            return _differ(f"token {token!r}", identity, their_ids.get(token, "absent"))
    for token, identity in sorted(their_ids.items(), key=lambda item: item[1]):
        if token not in our_ids:
            return _differ(f"token {token!r}", "absent", identity)
    special = [
        {i: t.content for i, t in r.tokenizer.get_added_tokens_decoder().items() if t.special} for r in (ours, theirs)
    ]
    return _differ("special tokens", special[0], special[1])


def _template_difference(ours: PromptRenderer, theirs: PromptRenderer) -> str | None:
    if ours.chat_template == theirs.chat_template:
        return None
    return _differ(
        "chat template, rendered for 'What is 1+1?'", ours.prompt("What is 1+1?"), theirs.prompt("What is 1+1?")
    ) or ("chat template: the sources differ, though they render a simple question alike")


def _differ(what: str, ours: object, theirs: object) -> str | None:
    return None if ours == theirs else f"{what}: {ours!r} in the student, {theirs!r} in the teacher"
