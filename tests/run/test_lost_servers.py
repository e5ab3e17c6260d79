"""How often a server may be lost: as often as work was kept since it was lost before. Steps and servers by script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reasoning_pipeline.errors import PipelineError, ServerError, ServerLost
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.run.runner import Runner
from reasoning_pipeline.run.stopping import kept
from tests.bench import Bench


class Servers:
    """The one of each attempt."""

    pool = None

    def __init__(self, starts: int = 100) -> None:
        self.starts, self.restarts = starts, list[bool]()

    def ready(self, plan: Any, step: Any, waiting: Any, *, restart: bool) -> tuple[Any, dict[str, Any], None]:
        self.restarts.append(restart)
        if len(self.restarts) > self.starts:
            raise ServerError("the rollout server did not start", remedy="full log: server-9.log")
        return Server(f"server-{len(self.restarts)}"), {}, None


class Server:
    alive = True

    def __init__(self, name: str) -> None:
        self.name = name

    def log_tail(self) -> str:
        return f"  {self.name}.log:\n    the end of {self.name}"


class Programs:
    """In the place of a step's program: each attempt leaves what the script says, and ends with its status."""

    def __init__(self, *script: tuple[Callable[[Path], object], int]) -> None:
        self.script = list(script)

    def run(self, plan: Any, step: Any, work: Path, log: Path, *_: Any) -> int:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("the end of the step")
        leave, status = self.script.pop(0)
        leave(work)
        return status


def point(step: int) -> Callable[[Path], object]:
    """A resume point, and metrics that go beyond it, as at the end of each attempt."""

    def leave(work: Path) -> None:
        folder = work / f"checkpoints/checkpoint-{step}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "complete").touch()
        with (work / "metrics.jsonl").open("a") as file:
            file.write("{}\n")

    return leave


def rows(work: Path) -> None:
    with (work / "rollouts.jsonl").open("a") as file:
        file.write("{}\n")


def nothing(work: Path) -> None:
    pass


LOST = ServerLost.exit_status


def make(
    bench: Bench, servers: Servers, *script: tuple[Callable[[Path], object], int], name: str = "teacher_rl"
) -> Any:
    """Run one step by script to its end; what is left of the script."""
    plan = bench.plan()
    runner = Runner(plan.recipe, HardwareProfile(), bench.root, Console(quiet=True))
    programs: Any = Programs(*script, (lambda work: bench.publish(plan, name), 0))
    runner._process = programs
    runner._make(plan, plan.step(name), bench.root / "work" / "made", servers, "[1/1]")  # type: ignore[arg-type]
    return programs.script


def test_a_long_step_outlives_as_many_servers_as_it_gets_further_with(bench: Bench):
    servers = Servers()
    assert not make(bench, servers, (point(10), LOST), (point(20), LOST), (point(25), LOST))
    assert servers.restarts == [False, True, True, True]


def test_before_its_first_resume_point_a_step_gets_a_second_server(bench: Bench):
    assert not make(bench, Servers(), (nothing, LOST))
    assert not make(bench, Servers(), (nothing, LOST), (point(1), LOST))


@pytest.mark.parametrize("again", [nothing, point(10)], ids=["at once", "where it was lost before"])
def test_a_server_that_is_lost_without_getting_further_ends_the_step(bench: Bench, again: Callable[[Path], object]):
    with pytest.raises(PipelineError) as error:
        make(bench, Servers(), (point(5), LOST), (point(10), LOST), (again, LOST))
    said = str(error.value)
    assert "step teacher_rl failed (exit status 75)" in said and "the end of the step" in said
    assert said.index("server-3.log") < said.index("no work was kept since one was lost") < said.index("server-2.log")
    assert "server-1.log" not in said and "full log:" in said and "teacher_rl.log" in said


def test_one_that_does_not_come_up_again_is_told_with_the_one_that_was_lost(bench: Bench):
    with pytest.raises(PipelineError) as error:
        make(bench, Servers(starts=1), (point(5), LOST))
    said = str(error.value)
    assert "step teacher_rl: the rollout server did not start" in said
    assert "server-1.log" in said and "server-9.log" in said


def test_another_failure_is_not_blamed_on_servers(bench: Bench):
    with pytest.raises(PipelineError) as error:
        make(bench, Servers(), (point(5), LOST), (nothing, 1))
    assert "failed (exit status 1)" in str(error.value) and "server-" not in str(error.value)


def test_rows_that_are_stored_are_work_that_is_kept_and_metrics_are_not(bench: Bench, tmp_path: Path):
    assert not make(bench, Servers(), (rows, LOST), (rows, LOST), name="rollouts")
    with pytest.raises(PipelineError, match="no work was kept"):
        make(bench, Servers(), (rows, LOST), (nothing, LOST), name="rollouts")
    alone = tmp_path / "alone"
    point(7)(alone)
    assert (kept(alone, "checkpoint"), kept(alone, "rollouts")) == (7, 0)
