"""The command line of an evaluation: checkpoints and suites in, a folder with a report out."""

from __future__ import annotations

import argparse
import math
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from reasoning_pipeline import __version__
from reasoning_pipeline.base.command_line import Parser
from reasoning_pipeline.base.text import percent
from reasoning_pipeline.beside import EVALS
from reasoning_pipeline.errors import DataError, ServerLost, Stopped

from .commands import COMMANDS

if TYPE_CHECKING:
    from reasoning_pipeline.data.prompts import PromptRenderer
    from reasoning_pipeline.data.suites.loading import Suite
    from reasoning_pipeline.run.uses import Use

    from .presets import Protocol
    from .results import EvaluationResult
    from .sessions import Sessions
    from .summary import Summary

DEFAULT_OUT = Path("runs/evals")


@dataclass(frozen=True, kw_only=True)
class Job:
    """Suites that one checkpoint is asked in one manner."""

    protocol: Protocol
    renderer: PromptRenderer
    suites: list[Suite]


def main(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    from reasoning_pipeline.run.uses import uses

    own = {use.suite: use for use in uses() if use.suite}
    if asked := [name for name in arguments.suite if name in own]:
        if len(set(arguments.suite)) > 1:
            alone = f"--suite {asked[0]}: asked by itself, it scores no language model"
            raise DataError(alone, remedy="run the other suites apart")
        return _own_suite(own[asked[0]], arguments)
    if arguments.recipe is not None:
        raise DataError(f"--recipe {arguments.recipe}: no benchmark takes it", remedy="leave it out")
    files = local_files(arguments.data, arguments.suite)

    from reasoning_pipeline.data.suites.loading import load_suite
    from reasoning_pipeline.registry.resolve import resolve_model

    from .sessions import Sessions

    signal.signal(signal.SIGTERM, _stop)
    models = [resolve_model(reference, root=arguments.registry) for reference in arguments.checkpoint]
    suites = []
    for name in arguments.suite:
        suite = load_suite(name, data=files.get(name), allow_changed=arguments.allow_changed_data)
        suites.append(suite.limited(arguments.limit))
        _say_what_is_odd(suite)
    outs = _folders(arguments.out, [model.name for model in models])
    with Sessions(hardware=arguments.hardware, server=arguments.server) as sessions:
        jobs = [_prepare(model, suites, arguments, sessions) for model in models]
        for model, out, groups in zip(models, outs, jobs, strict=True):
            print(f"{model.name} → {out}", file=sys.stderr)
            for job in groups:
                print(table(_evaluate(model, out, job, arguments, sessions)))
            print(out / "report.html")
    return 0


def _own_suite(use: Use, arguments: argparse.Namespace) -> int:
    """A suite that a workflow brings for checkpoints of its kind."""
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.registry.resolve import resolve_model
    from reasoning_pipeline.run.uses import kinds

    profile, options = load_profile(arguments.hardware), _own_options(use, arguments)
    models = [resolve_model(reference, root=arguments.registry, kinds=kinds()) for reference in arguments.checkpoint]
    for model in models:
        if not use.knows(model.folder):
            raise DataError(f"{model.name} is nothing that --suite {use.suite} can score", remedy="name another suite")
    for model, out in zip(models, _folders(arguments.out, [model.name for model in models]), strict=True):
        print(f"{model.name} → {out}", file=sys.stderr)
        print(use.evaluate(model, out, profile=profile, seed=arguments.seed, **options))
    return 0


def _own_options(use: Use, arguments: argparse.Namespace) -> dict[str, Any]:
    """What is given of the options that the suite takes. Raises DataError for others."""
    taken = ("checkpoint", "suite", "seed", "out", "hardware", "registry", *use.options)
    default = _parser().parse_args(["", "--suite", ""])
    given = {name: value for name, value in vars(arguments).items() if value != getattr(default, name)}
    if unknown := [f"--{name.replace('_', '-')}" for name in given if name not in taken]:
        own = ", ".join(f"--{name}" for name in taken[1:])
        raise DataError(f"{', '.join(unknown)}: --suite {use.suite} does not take it", remedy=f"it takes {own}")
    if "data" in given:
        given["data"] = local_files(arguments.data, [use.suite])[use.suite]
    return {name: value for name, value in given.items() if name in use.options}


def local_files(data: Sequence[str], suites: Sequence[str]) -> dict[str, Path]:
    """`--data` values by suite: NAME=FILE, or FILE alone where there is one suite. Raises DataError."""
    files: dict[str, Path] = {}
    for value in data:
        name, equals, path = value.partition("=")
        if equals and name in suites:
            files[name] = Path(path)
        elif len(suites) == 1 and not (equals and not Path(value).exists()):
            files[suites[0]] = Path(value)
        else:
            raise DataError(
                f"--data {value}: which suite is it for?", remedy=f"write SUITE=FILE, SUITE one of: {', '.join(suites)}"
            )
    return files


def _prepare(model: Any, suites: Sequence[Suite], arguments: argparse.Namespace, sessions: Sessions) -> list[Job]:
    """Suites of one checkpoint grouped by how they are asked, with their renderer; and the context length they need.

    Done for every checkpoint before the first server starts, so that a missing chat template costs seconds.
    """
    from reasoning_pipeline.data.prompts import PromptRenderer

    from .presets import protocol

    overrides = {name: getattr(arguments, name) for name in ("temperature", "top_p", "top_k", "min_p", "max_tokens")}
    groups: dict[Any, tuple[Protocol, list[Suite]]] = {}
    for suite in suites:
        settled = protocol(
            suite_preset=suite.preset,
            suite_max_tokens=suite.max_tokens,
            asked=arguments.preset,
            recorded=model.prompt,
            overrides={**overrides, "seed": arguments.seed},
        )
        groups.setdefault((settled.prompt, settled.decoding), (settled, []))[1].append(suite)
    prepared = []
    for settled, group in groups.values():
        renderer = PromptRenderer.from_folder(model.folder, settled.prompt)
        longest = max(len(renderer.prompt_ids(problem)) for suite in group for problem in suite.problems)
        sessions.need(model.folder, longest + settled.decoding.max_tokens)
        prepared.append(Job(protocol=settled, renderer=renderer, suites=group))
    return prepared


def _evaluate(model: Any, out: Path, job: Job, arguments: argparse.Namespace, sessions: Sessions) -> EvaluationResult:
    from rich.console import Console

    from reasoning_pipeline.run.progress import Progress
    from reasoning_pipeline.run.stopping import kept

    from .run import evaluate

    def attempt() -> EvaluationResult:
        with Progress(Console(stderr=True)).told(", ".join(suite.name for suite in job.suites)) as tell:
            return evaluate(
                suites=job.suites,
                renderer=job.renderer,
                sampler=sessions.sampler(model.folder, model.name),
                decoding=job.protocol.decoding,
                samples=arguments.samples,
                out=out,
                profile=arguments.profile,
                checkpoint=model.name,
                fingerprint=model.fingerprint,
                preset=job.protocol.preset,
                progress=lambda so_far: tell(so_far.as_json()),
            )

    lost_at = -1
    while True:
        try:
            return attempt()
        except ServerLost as error:
            now = kept(out, "evaluation")
            if arguments.server or now <= lost_at:  # somebody else's server is not ours to start again
                raise
            lost_at = now
            print(f"{error}\nstarting the server once more; what had finished is kept", file=sys.stderr)
            sessions.close()


def _folders(out: Path | None, names: Sequence[str]) -> list[Path]:
    """One folder a checkpoint: --out itself for a single one, else a subfolder each."""
    labels = [re.sub(r"[^\w.@+-]+", "-", name).strip("-.") or "checkpoint" for name in names]
    if len(set(labels)) < len(labels):
        raise DataError(f"{max(labels, key=labels.count)} is given twice", remedy="name every checkpoint once")
    if out is not None and len(labels) == 1:
        return [out]
    return [(out or DEFAULT_OUT) / label for label in labels]


def _say_what_is_odd(suite: Suite) -> None:
    for note in suite.notes:
        print(f"note: {note}", file=sys.stderr)
    if suite.set_aside:
        shown = "; ".join(f"{name} ({reason})" for name, reason in suite.set_aside[:3])
        more = f" and {len(suite.set_aside) - 3} more" if len(suite.set_aside) > 3 else ""
        print(f"note: {suite.name}: {len(suite.set_aside)} references set aside: {shown}{more}", file=sys.stderr)


def _stop(number: int, frame: object) -> NoReturn:
    raise Stopped("stopped", remedy="run the same command again; it continues where it was")


def table(result: EvaluationResult) -> str:
    lines = [_line(summary) for summary in result.summaries.values()]
    for name, pooled in result.pooled.items():
        interval = f"[{percent(pooled.low)}, {percent(pooled.high)}]"
        lines.append(f"{name} pooled  {percent(pooled.mean)} %  {interval}  {pooled.problems} × {pooled.samples}")
    lines += [f"{name} not pooled: {why}" for name, why in result.not_pooled.items()]
    return "\n".join(lines)


def _line(summary: Summary) -> str:
    score, asked = summary.score, f"{len(summary.scores)} × {summary.samples}"
    if score is None:
        return f"{summary.suite}  nothing could be scored  {asked}"

    parts = [
        f"{summary.suite}  {percent(score.mean)} %",
        f"± {percent(score.se_fixed)} (problems fixed) / {percent(score.se_drawn)} (drawn)",
        f"[{percent(score.low)}, {percent(score.high)}]",
        asked,
    ]
    if (sound := summary.score_without_known_issues) is not None:
        parts.append(f"{percent(sound.mean)} % without {len(summary.known_issues)} known to be published wrong")
    if summary.samples > 1:
        curves = {"pass": summary.pass_at, "maj": summary.maj_at}
        parts += [f"{name}@{max(curve)} {percent(curve[max(curve)])}" for name, curve in curves.items() if curve]
    shown = ("truncated", "no_answer", "timeout", "error", "unscored", "set_aside")
    parts += [f"{name.replace('_', ' ')} {percent(summary.shares[name])} %" for name in shown if summary.shares[name]]
    return "  ".join(parts)


def _number(kind: type, least: float, most: float = math.inf, *, above: bool = False) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number (got {text!r})") from None
        if not (least < value if above else least <= value) or not value <= most:
            bound = f"above {least:g}" if above else f"at least {least:g}"
            upper = "" if most == math.inf else f" and at most {most:g}"
            raise argparse.ArgumentTypeError(f"{bound}{upper} (got {text})")
        return value

    return parse


def _parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:8} {about}" for name, about in COMMANDS.items())
    parser = Parser(
        prog=EVALS,
        description="Score checkpoints on benchmarks. Killed and started again, it continues; same seed, same samples.",
        epilog=f"other commands ({EVALS} COMMAND --help):\n{commands}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("checkpoint", nargs="+", metavar="CHECKPOINT", help="registry reference, folder or hub name")
    parser.add_argument(
        "--suite", action="append", required=True, help="a suite's name or a JSONL file (again for more)"
    )
    parser.add_argument(
        "--data", action="append", default=[], metavar="[SUITE=]FILE", help="local JSONL in a suite's place"
    )
    parser.add_argument("--allow-changed-data", action="store_true", help="accept rows that are not the pinned ones")
    parser.add_argument(
        "--samples", type=_number(int, 1), default=1, metavar="K", help="samples per problem (default 1)"
    )
    parser.add_argument("--limit", type=_number(int, 1), metavar="N", help="only the first N problems of each suite")
    parser.add_argument("--preset", help="qwen3-nonthinking, qwen3-thinking, boxed or plain: prompt and decoding")
    parser.add_argument("--temperature", type=_number(float, 0))
    parser.add_argument("--top-p", type=_number(float, 0, 1, above=True))
    parser.add_argument("--top-k", type=_number(int, 0), help="0 is off")
    parser.add_argument("--min-p", type=_number(float, 0, 1))
    parser.add_argument("--max-tokens", type=_number(int, 1), metavar="T", help="longest answer")
    parser.add_argument(
        "--recipe", metavar="FILE", help="whose `score_systems` says what is asked and who scores (--suite user_logs)"
    )
    parser.add_argument("--seed", type=_number(int, 0), default=0)
    parser.add_argument("--profile", choices=("lenient", "strict"), default="lenient", help="verdicts that count")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"result folder (default {DEFAULT_OUT}/CHECKPOINT)")
    parser.add_argument("--server", metavar="URL", help="a rollout server that runs already")
    parser.add_argument("--hardware", metavar="PROFILE", help="hardware profile for a server of our own")
    parser.add_argument(
        "--registry", type=Path, metavar="DIR", help="folder that holds registry/, where references are looked up"
    )
    return parser
