"""Messages as chat APIs write them: turns, each with a role and a content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("system", "developer", "user", "assistant")


def text_of(content: Any) -> Any:
    """A turn's content: its text, or the texts of its parts where all of them are texts; else as it was."""
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    return "\n".join(map(str, texts)) if texts and all(isinstance(text, str) for text in texts) else content


def as_one_text(turns: Sequence[Mapping[str, str]]) -> str:
    """The last turn; earlier ones stand before it, with who spoke."""
    *earlier, last = turns
    told = "\n".join(f"{turn['role']}: {turn['content']}" for turn in earlier)
    return f"{told}\n\n{last['content']}" if told else last["content"]
