"""Findings on the terminal, and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reasoning_pipeline.doctor.subject import Finding

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def print_findings(findings: list[Finding], *, title: str, as_json: bool) -> None:
    """One row a finding, the remedy below what it mends; then the sum."""
    counts = {level: sum(finding.level == level for finding in findings) for level in STYLES}
    if as_json:
        print(json.dumps({"subject": title, **counts, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return
    console = Console(highlight=False)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        remedy = f"\n→ {finding.remedy}" if finding.remedy and finding.level != "ok" else ""
        table.add_row(Text(finding.level, style=STYLES[finding.level]), finding.check, Text(finding.message + remedy))
    console.print(table)
    console.print(", ".join(f"{count} {level}" for level, count in counts.items()))
