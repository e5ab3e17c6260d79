"""`python -m launch`: a recipe's plan as Slurm jobs, what they are at, ending them, and what must be fetched before."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from reasoning_pipeline import __version__
from reasoning_pipeline.base.command_line import Parser, exit_status
from reasoning_pipeline.base.text import console
from reasoning_pipeline.beside import LAUNCH, PIPELINE
from reasoning_pipeline.commands.completion import script
from reasoning_pipeline.commands.options import (
    add_arm_options,
    as_given,
    naming_the_recipe,
    recipe_command,
    seed_list,
    seeds_of,
    store_of,
)
from reasoning_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan

    from .submitted import Submitted


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 refused or failed; 2 bad input; 99 (of `job`) to be queued again; 130 stopped."""
    arguments = _parser().parse_args(argv)

    def command() -> int:
        with naming_the_recipe(arguments):
            return int(arguments.command(arguments))

    return exit_status(command, stopped=None)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=LAUNCH, description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    slurm = recipe_command(commands, "slurm", _slurm, "submit what is neither complete nor queued, one job a step")
    slurm.add_argument("--only", metavar="STEP", help="this step alone; what it reads must be complete or queued")
    slurm.add_argument("--until", metavar="STEP", help="up to this step: it and everything it needs")
    slurm.add_argument("--dry-run", action="store_true", help="print the scripts; submit and write nothing")
    slurm.add_argument("--verbose", action="store_true", help="with --dry-run: every script, not one of each kind")
    for name in ("partition", "account", "qos"):
        slurm.add_argument(f"--{name}", help=f"instead of the profile's slurm.{name}")
    slurm.add_argument("--time-limit", metavar="LIMIT", help="instead of the profile's slurm.time_limit")
    status = recipe_command(commands, "status", _status, "each step: complete, running, waiting for what, failed why")
    cancel = recipe_command(commands, "cancel", _cancel, "end a recipe's jobs; their resume points are kept")
    cancel.add_argument("--only", metavar="STEP", help="the job of this step (what waits for it goes too)")
    job = recipe_command(commands, "job", _job, "inside a job: run one step (called by the scripts)")
    job.add_argument("--step", required=True, metavar="STEP")
    job.add_argument("--expect", required=True, metavar="OUTPUT", help="what the step's folder was called")
    prefetch = recipe_command(commands, "prefetch", _prefetch, "fetch models and data from the hub into HF_HOME")
    prefetch.add_argument("--dry-run", action="store_true", help="list them; fetch nothing")
    text = "a script that completes commands, options and names in bash and zsh"
    completion = commands.add_parser("completion", help=text, description=text)
    completion.set_defaults(command=lambda arguments: print(script("reasoning-launch", commands.choices), end="") or 0)
    for command, without in ((slurm, "main"), (status, "as submitted"), (cancel, "as submitted")):
        add_arm_options(command, without=without)
    job.add_argument("--seeds", type=seed_list, metavar="N,N,…")
    return parser


def _slurm(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.data.pools import Pools
    from reasoning_pipeline.data.unread import SketchedPools
    from reasoning_pipeline.doctor.examine import BEFORE_A_SUBMISSION, refuse
    from reasoning_pipeline.doctor.subject import Subject
    from reasoning_pipeline.hardware.profile import load_profile, profile_path
    from reasoning_pipeline.plan.planner import make_plan
    from reasoning_pipeline.recipe.reading import MAIN, load_recipe

    from .dry_run import print_jobs
    from .submission import make_target, prepare, submit

    profile = load_profile(arguments.hardware)
    own = {name: getattr(arguments, name) for name in ("partition", "account", "qos", "time_limit")}
    own = {name: value for name, value in own.items() if value is not None}
    if profile.slurm is not None and own:
        profile = profile.model_copy(update={"slurm": profile.slurm.changed(own)})
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    seeds = seeds_of(arguments, recipe)
    pools = SketchedPools if arguments.dry_run else Pools  # a dry run downloads nothing
    plan = make_plan(recipe, arguments.root, seeds, pools, store=store_of(arguments)).of_arms(arguments.arms or (MAIN,))
    plan = replace(plan, given=as_given(arguments))
    target = make_target(plan, profile_path(arguments.hardware), arguments.overrides, seeds)
    which = {"only": arguments.only, "until": arguments.until}
    if arguments.dry_run:
        for why in plan.ledger.pools.not_read.values():
            print(f"### {why}: `{LAUNCH} prefetch {as_given(arguments)}` before submitting")
        print_jobs(prepare(plan, profile, target, queued=set(), **which), target, every=arguments.verbose)
        return 0
    refuse(Subject(plan=plan, profile=profile, root=store_of(arguments)), BEFORE_A_SUBMISSION)
    done = submit(plan, profile, target, arms=arguments.arms or (MAIN,), **which)
    for made in done:
        print(f"{made.job}  {made.step}" + (f"  after {', '.join(made.after)}" if made.after else ""))
    follow = f"{len(done)} submitted; `{LAUNCH} status {as_given(arguments, arms=True)}` follows them"
    print(follow if done else "nothing to submit: every step is complete or in the queue")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from rich.table import Table

    from .status import states

    plan, submitted = _submitted(arguments)
    found = states(plan, submitted)
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "state", "job", "elapsed", "left", ""):
        table.add_column(heading, no_wrap=heading not in ("", "state"), overflow="fold")
    for entry in found:
        table.add_row(entry.step, entry.state, entry.job, entry.elapsed, entry.left, entry.detail)
    out = console()
    out.print(table)
    for entry in found:
        if entry.log:
            out.print(f"\n{entry.step}: the log of its job ended with\n{entry.log}", highlight=False, markup=False)
    for name, why in plan.ledger.pools.not_read.items():
        print(f"\ndata.{name} was not read: {why}; so the steps that read it cannot be told from others")
    if all(entry.state == "complete" for entry in found):
        print(f"\nwrite the report with `{PIPELINE} report {as_given(arguments, arms=True)}`")
    return 1 if any(entry.state == "failed" for entry in found) else 0


def _cancel(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.plan.selection import selected

    from . import queue

    plan, submitted = _submitted(arguments)
    alive = queue.mine()
    steps = selected(plan, arguments.only, None)
    newest = [entry for step in steps if (entry := submitted.newest(step.output)) is not None and entry.job in alive]
    queue.cancel([entry.job for entry in newest])
    for entry in newest:
        print(f"{entry.job}  {entry.step}  cancelled")
    print(f"{len(newest)} jobs cancelled; resume points are kept" if newest else "nothing of this recipe is queued")
    return 0


def _submitted(arguments: argparse.Namespace) -> tuple[Plan, Submitted]:
    """The plan as it was submitted, where the command line does not say otherwise; nobody is asked but this machine."""
    import os

    os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's client is imported, which reads it once

    from reasoning_pipeline.data.unread import SketchedPools
    from reasoning_pipeline.plan.planner import make_plan
    from reasoning_pipeline.recipe.reading import load_recipe

    from .submitted import Submitted

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    submitted = Submitted.read(arguments.root / recipe.name)
    if not arguments.overrides and submitted.overrides:
        arguments.overrides = submitted.overrides
        recipe = load_recipe(arguments.recipe, arguments.overrides)
    arguments.seeds = seeds_of(arguments, recipe) or submitted.seeds
    arguments.arms = arguments.arms or submitted.arms
    plan = make_plan(recipe, arguments.root, arguments.seeds, SketchedPools, store=store_of(arguments))
    return plan.of_arms(arguments.arms), submitted


def _job(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.recipe.reading import load_recipe

    from .job import run_job

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    return run_job(
        recipe,
        load_profile(arguments.hardware),
        arguments.root,
        step=arguments.step,
        expect=arguments.expect,
        seeds=seeds_of(arguments, recipe),
        store=store_of(arguments),
    )


def _prefetch(arguments: argparse.Namespace) -> int:
    import os

    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.recipe.reading import load_recipe

    from .prefetch import fetch, wanted

    profile = load_profile(arguments.hardware)
    # The cache that the jobs will look into; set before the hub's client is imported, which reads it once.
    if profile.setup.hf_home is not None:
        os.environ["HF_HOME"] = profile.setup.hf_home
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    items, store = wanted(recipe), store_of(arguments)
    if not items:
        print(f"{arguments.recipe} needs nothing from the hub")
    failed = 0
    for item in items:
        print(f"{item.kind:5}  {item.name}  ({', '.join(item.used_by)})", flush=True)
        if arguments.dry_run:
            continue
        try:
            print(f"       {fetch(recipe, item, arguments.root, store=store, given=as_given(arguments))}", flush=True)
        except PipelineError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
