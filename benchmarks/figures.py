"""`make figures`: the tables and pictures of the documents, rendered anew from the CSVs in docs/figures.

A table stands between two comments, each alone in its line, which GitHub does not show:

    <!-- table: demo -->
    (rendered)
    <!-- /table -->

The page docs/when_it_pays.md is written whole. Prints what changed. docs/figures/README.md says how a run's CSV
gets there.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from benchmarks import figure_pictures, figure_tables, when_it_pays
from benchmarks.shared import PROJECT
from reasoning_pipeline.errors import DataError, PipelineError

DOCUMENTS = ("README.md", "recipes/README.md", "docs/*.md")
TABLE = re.compile(r"^<!-- table: ([\w-]+) -->\n(?:(?!<!-- ).*\n)*<!-- /table -->$", re.MULTILINE)
_MARKER = re.compile(r"^.*<!-- /?table.*$", re.MULTILINE)


def main() -> int:
    try:
        changed = outdated()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(PROJECT))
    return 0


def outdated(project: Path = PROJECT) -> dict[Path, str]:
    """Document or picture -> what it should be, where it is something else."""
    wanted = {}
    for path in sorted(path for pattern in DOCUMENTS for path in project.glob(pattern)):
        before = path.read_text(encoding="utf-8")
        if broken := _MARKER.search(TABLE.sub("", before)):
            line = before.splitlines().index(broken[0]) + 1
            remedy = "a table is <!-- table: NAME --> and <!-- /table -->, each alone in its line"
            raise DataError(f'{path.relative_to(project)}:{line}: "{broken[0]}" is half a table', remedy=remedy)
        after = TABLE.sub(lambda found: _table(found[1], project), before)
        if after != before:
            wanted[path] = after
    path, text = when_it_pays.page(project)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        wanted[path] = text
    for path, svg in figure_pictures.pictures(project):
        if not path.is_file() or not figure_pictures.alike(path.read_text(encoding="utf-8"), svg):
            wanted[path] = svg
    return wanted


def _table(name: str, project: Path) -> str:
    return "\n".join([f"<!-- table: {name} -->", *figure_tables.render(name, project), "<!-- /table -->"])


if __name__ == "__main__":
    sys.exit(main())
