"""`python -m launch slurm --dry-run`: what would be submitted, a line a job, then a script of each kind."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning_pipeline.base.text import columns, counted

from .submission import Prepared, Target, dependency


def print_jobs(prepared: Sequence[Prepared], target: Target, *, every: bool) -> None:
    """The summary first. Scripts of one kind differ in names alone: `every` prints them all."""
    rows = [
        [
            entry.job.name,
            f"{entry.request.gpus_per_node or 0} GPUs a node",
            entry.request.time_limit,
            f"after {', '.join(entry.job.parents)}" if entry.job.parents else "",
        ]
        for entry in prepared
    ]
    for line in columns(rows, right=(1, 2)) if rows else ():
        print(f"### {line}")
    print(f"### {counted(len(prepared), 'job')}; nothing was submitted")
    kinds: dict[object, str] = {}
    for entry in prepared:
        kinds.setdefault((type(entry.job.steps[0].config).heavy, entry.request), entry.job.name)
    if not every and len(kinds) < len(prepared):
        print(f"### below: a script of each kind ({', '.join(kinds.values())}); --verbose prints all")
    for entry in prepared:
        if every or entry.job.name in kinds.values():
            words = dependency(entry.job, {parent: f"<{parent}>" for parent in entry.job.parents})
            print(f"### sbatch {f'--dependency={words} ' if words else ''}{target.script(entry.job)}\n{entry.script}")
