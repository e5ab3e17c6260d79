"""A reason as a tree, and below it what changed by itself."""

from __future__ import annotations

from rich.console import Console

from reasoning_pipeline.base.text import Branch
from reasoning_pipeline.plan.why import Reason
from reasoning_pipeline.registry.differences import Change


def print_reason(reason: Reason) -> None:
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print("\n".join(_branch(reason, "", set()).lines()))
    roots = list(reason.roots())
    if reason.state == "differs" and roots:
        console.print("\nwhat changed by itself:")
        for path, step, change in roots:
            through = f"   (through {' of '.join(reversed(path))})" if path else ""
            console.print(f"  {step}: {change}{through}")


def _branch(reason: Reason, prefix: str, told: set[str]) -> Branch:
    line = prefix + _headline(reason)
    if reason.step in told:
        return Branch(f"{line}: as above")
    told.add(reason.step)
    children = [Branch(str(change)) for change in reason.changes]
    for field, cause in reason.inputs.items():
        if isinstance(cause, Change):
            children.append(Branch(f"its input {cause}"))
        else:
            children.append(_branch(cause, f"its input {field}: ", told))
    return Branch(line, children)


def _headline(reason: Reason) -> str:
    step, earlier = reason.step, reason.earlier
    resumes = "; it was begun, and would go on from its last resume point" if reason.resumes else ""
    if reason.state == "complete":
        return f"{step} is complete: {reason.output}"
    if earlier is None:
        return f"{step} would run: nothing of its stage was ever made here{resumes}"
    if reason.state == "removed":
        return f"{step} would run again: {reason.output} was removed by `gc`{resumes}"
    gone = ", removed since" if earlier.removed else ""
    if not reason.changes and not reason.inputs:
        return f"{step} is what {earlier.name} is ({earlier.made_by}{gone}){resumes}"
    return f"{step} is not what {earlier.name} is ({earlier.made_by}{gone}){resumes}"
