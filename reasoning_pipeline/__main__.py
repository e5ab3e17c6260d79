"""`python -m reasoning_pipeline`: arguments first, heavy imports later."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.errors import PipelineError, as_storage_error

if TYPE_CHECKING:
    from reasoning_pipeline.plan import Plan

DESCRIPTION = "One recipe, four stages: sparse reward on the teacher, dense transfer to the student."


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 a step failed; 2 bad input; 130 stopped."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` had enough
        sys.stderr.close()
        return 1
    except OSError as error:
        print(f"error: {as_storage_error(error) or error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reasoning_pipeline", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    plan = _recipe_command(commands, "plan", "the steps in order, what they read and spend, what would run", _plan)
    plan.set_defaults(command=_plan)
    run = _recipe_command(commands, "run", "run what is not complete; writes the report at the end", _run)
    run.add_argument("--only", metavar="STEP", help="this step alone; what it reads must be complete")
    run.add_argument("--until", metavar="STEP", help="up to this step: it and everything it needs")
    report = _recipe_command(commands, "report", "write the report of what is complete", _report)
    report.add_argument("--out", type=Path, help="HTML file (default: ROOT/RECIPE/report.html)")

    show = commands.add_parser("show", help="artifacts of the registry, or one with its lineage")
    show.add_argument("artifact", nargs="?", help="artifact name, a unique beginning of it, or a step's name")
    show.add_argument("--verify", action="store_true", help="hash every file again and compare with the records")
    show.add_argument("--root", type=Path, default=Path("runs"), help="where registry and runs live (default: runs)")
    show.set_defaults(command=_show)

    stages = commands.add_parser("stages", help="the stages there are, each with what it does")
    stages.set_defaults(command=_stages)
    return parser


def _recipe_command(commands: argparse._SubParsersAction, name: str, text: str, function: object):
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("recipe", type=Path, help="YAML file, e.g. recipes/arithmetic.yaml")
    parser.add_argument(
        "--hardware", metavar="PROFILE", help="a file in recipes/hardware/ by name, or a path (default: cpu)"
    )
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="change a value of the recipe, e.g. steps.distill.learning_rate=2e-6 (may be repeated)",
    )
    parser.add_argument("--root", type=Path, default=Path("runs"), help="where registry and runs live (default: runs)")
    parser.set_defaults(command=function)
    return parser


def _load(arguments: argparse.Namespace) -> Plan:
    from reasoning_pipeline.plan import make_plan
    from reasoning_pipeline.recipe import load_recipe

    return make_plan(load_recipe(arguments.recipe, arguments.overrides), arguments.root)


def _plan(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.display import print_plan
    from reasoning_pipeline.hardware import load_profile

    profile = load_profile(arguments.hardware)
    print_plan(_load(arguments), profile)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from reasoning_pipeline.hardware import load_profile
    from reasoning_pipeline.recipe import load_recipe
    from reasoning_pipeline.runner import Runner

    console = Console()
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    runner = Runner(recipe, load_profile(arguments.hardware), arguments.root, console)
    plan, ran = runner.run(only=arguments.only, until=arguments.until)
    if not ran:
        console.print("everything is up to date", highlight=False)
    _write_report(plan, arguments.root, renew=ran > 0)
    return 0


def _report(arguments: argparse.Namespace) -> int:
    _write_report(_load(arguments), arguments.root, renew=True, out=arguments.out)
    return 0


def _write_report(plan: Plan, root: Path, *, renew: bool, out: Path | None = None) -> None:
    from rich.console import Console

    from reasoning_pipeline.report import results_table, write_csv, write_report

    path = out or root / plan.recipe.name / "report.html"
    if renew or not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_report(plan, path)
        write_csv(plan, path.with_suffix(".csv"))
    console = Console()
    console.print(results_table(plan))
    console.print(f"report: {path}", highlight=False, soft_wrap=True)


def _show(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.display import print_artifact, print_artifacts
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(arguments.root)
    if arguments.artifact is None:
        return print_artifacts(registry, verify=arguments.verify)
    return print_artifact(registry, arguments.artifact, verify=arguments.verify)


def _stages(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.stage import stage_kinds, stage_module

    for kind in stage_kinds():
        summary = " ".join((stage_module(kind).__doc__ or "").strip().split("\n\n")[0].split())
        print(f"{kind}\n    {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
