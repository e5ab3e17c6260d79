"""A hook of MkDocs: where a page names another by its path in the project, `docs/NAME.md`, it becomes a link."""

from __future__ import annotations

import posixpath
import re
from typing import Any

PAGE = re.compile(r"(?<![\w/`(])docs/([\w/]+\.md)")
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """Called by MkDocs with each page before it is rendered; code blocks stay as they are."""
    parts = FENCE.split(markdown)
    return "".join(part if part.startswith("```") else linked(part, page.file.src_uri, files) for part in parts)


def linked(text: str, here: str, files: Any) -> str:
    def link(found: re.Match[str]) -> str:
        target = files.get_file_from_path(found[1])
        if target is None:
            return found[0]
        path = posixpath.relpath(found[1], posixpath.dirname(here) or ".")
        return f"[{found[1].removesuffix('.md').replace('_', ' ')}]({path})"

    return PAGE.sub(link, text)
