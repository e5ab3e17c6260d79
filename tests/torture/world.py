"""One registry that is tortured: runs that are interrupted, and the comparison with one that was not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.registry.store import Artifact, Registry
from tests.run.conftest import Run
from tests.torture.moments import Moment

HERE = Path(__file__).resolve().parent
RECIPE = HERE / "recipe.yaml"
PROFILES = {engine: str(HERE / f"hardware_{engine}.yaml") for engine in ("transformers", "vllm")}
RUN_LIMIT_S = 900.0
WORLD_VARIABLE = "TORTURE_WORLD"
"""Environment variable by which a world's processes are known, among those of other programs."""

LEAVING_S = 90.0
"""A step whose runner is gone may take a minute to save its resume point."""


class World:
    """A root of its own. `until` makes the plan smaller."""

    def __init__(self, root: Path, engine: str, until: str | None) -> None:
        self.root, self.engine, self.until = root.resolve(), engine, until
        self.objections: list[str] = []
        """What should not have been seen."""

    def start(self, moment: Moment | None = None) -> Run:
        arguments: list[str | Path] = ["run", RECIPE, "--root", self.root, "--hardware", PROFILES[self.engine]]
        arguments += ["--until", self.until] if self.until is not None else []
        environment = {WORLD_VARIABLE: str(self.root)}
        if moment is not None:
            environment |= {"PYTHONPATH": str(HERE / "hook"), **moment.environment()}
        return Run(*arguments, environment=environment)

    def interrupt(self, moment: Moment) -> bool:
        """Run until the moment has come; False where the run was over before."""
        run = self.start(moment)
        if moment.kind == "clock":
            self._kill_by_clock(run, moment)
        elif moment.kind == "file":
            self._kill_by_clock(run, replace(moment, role="runner"))
        elif moment.kind == "disk":
            with_full_disk(self.root, run, moment)
        status, output = run.finish(timeout_s=RUN_LIMIT_S)
        # A lost server is started again and the run may end well; whatever else was killed ends it.
        hit = status != 0 or "server was lost" in output or "going on with" in output
        if "Traceback" in output:
            self.objections.append(f"{moment.what}: the runner ended with a traceback\n{output[-2000:]}")
        if moment.kind != "disk":
            self.objections += [f"{moment.what}: {text}" for text in self._tracebacks()]
        if hit and not moment.at_once:
            self._expect_nobody(moment.what)
        return hit

    def finish(self) -> None:
        """The last run, undisturbed."""
        status, output = self.start().finish(timeout_s=RUN_LIMIT_S)
        if status != 0:
            self.objections.append(f"the undisturbed run at the end failed (status {status})\n{output[-3000:]}")
        self._expect_nobody("at the end")

    def complete(self) -> bool:
        """Whether nothing is left that could be interrupted."""
        plan = make_plan(load_recipe(RECIPE), self.root)
        wanted = plan.steps if self.until is None else [plan.step(self.until)]
        return all(step.complete for step in wanted)

    def _kill_by_clock(self, run: Run, moment: Moment) -> None:
        deadline = time.monotonic() + moment.seconds
        while time.monotonic() < deadline and run.process.poll() is None:
            time.sleep(0.02)
        if moment.role == "runner":
            run.process.kill()
            return
        word = {"step": "context.json", "server": "vllm.entrypoints"}[moment.role]
        patience = time.monotonic() + 60
        while run.process.poll() is None and time.monotonic() < patience:
            family = run.family(word)
            for process in family:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            if family:
                return
            time.sleep(0.05)

    def _tracebacks(self) -> Iterator[str]:
        for log in (self.root / "torture" / "logs").glob("*.log"):
            text = log.read_text(errors="replace")
            if "Traceback" in text and not log.name.startswith("server"):
                yield f"{log.name} holds a traceback\n{text[text.index('Traceback') :][-2000:]}"
                log.unlink()

    def _expect_nobody(self, when: str) -> None:
        deadline = time.monotonic() + LEAVING_S
        while (found := self._family()) and time.monotonic() < deadline:
            time.sleep(0.2)
        if found:
            self.objections.append(f"{when}: processes were left: {found}")

    def _family(self) -> list[str]:
        """Command lines of what this world's runs have started and is still there."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            if process.info["status"] != psutil.STATUS_ZOMBIE and self._started(process):
                found.append(f"{process.pid} {' '.join(process.info['cmdline'] or [])[:120].strip()}")
        return found

    def _started(self, process: psutil.Process) -> bool:
        """By its environment, or where vLLM has written a title over that, by where its output goes."""
        try:
            if process.environ().get(WORLD_VARIABLE) == str(self.root):
                return True
            return os.readlink(f"/proc/{process.pid}/fd/1").startswith(f"{self.root}/")
        except (psutil.Error, OSError):
            return False


def check_whole(world: World) -> list[str]:
    """Every artifact of the plan is there, verifies, and its ledger says what the plan says."""
    plan = make_plan(load_recipe(RECIPE), world.root)
    registry, found = Registry(world.root), []
    for artifact in registry.artifacts():
        found += registry.verify(artifact)
    for step in plan.steps:
        if step.artifact is None:
            if world.until is None:
                found.append(f"{step.name}: not complete")
            continue
        written = [asdict(entry) for entry in step.artifact.record.label_spend]
        if written != [asdict(spend) for spend in step.lineage]:
            found.append(f"{step.name}: the record's label spend is not the plan's: {written}")
        found += _samples_problems(step.name, step.artifact)
    if left := sorted(path.name for path in (world.root / "work").glob("*") if path.is_dir()):
        found.append(f"left in work/: {left}")
    if half := sorted(path.name for path in registry.folder.glob("*") if not (path / "record.json").is_file()):
        found.append(f"left in registry/ without a record: {half}")
    return found


def _samples_problems(name: str, artifact: Artifact) -> Iterator[str]:
    """Each problem was sampled as often as asked, none twice."""
    for path in artifact.folder.rglob("samples.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        keys = [(row["problem_id"], row["sample"]) for row in rows]
        problems = len((path.parent / "problems.jsonl").read_text().splitlines())
        samples = artifact.record.config["samples"]
        if len(set(keys)) != len(keys):
            yield f"{name}: {len(keys) - len(set(keys))} samples were drawn twice"
        if len(set(keys)) != problems * samples:
            yield f"{name}: {len(set(keys))} samples of {problems} x {samples}"


def differences(world: World, reference: World) -> list[str]:
    """What the tortured world made otherwise: weights bit for bit, tokens, figures."""
    ours, theirs = (
        {artifact.record.step: artifact for artifact in Registry(w.root).artifacts()} for w in (world, reference)
    )
    found = []
    for name, expected in theirs.items():
        artifact = ours.get(name)
        if artifact is None:
            found.append(f"{name}: was not made")
            continue
        if artifact.name != expected.name:
            found.append(f"{name}: another identity, {artifact.name}")
        found += [f"{name}: {line}" for line in _contents_differ(artifact, expected)]
    return found


def _contents_differ(ours: Artifact, theirs: Artifact) -> Iterator[str]:
    weights = "model.safetensors"
    if weights in theirs.record.files and ours.record.files[weights] != theirs.record.files[weights]:
        yield f"weights differ by up to {_largest_weight_difference(ours.folder, theirs.folder):.3g}"
    rollouts = [_tokens(artifact.folder / "rollouts.jsonl") for artifact in (ours, theirs)]
    if rollouts[0] != rollouts[1]:
        unequal = sum(a != b for a, b in zip(*rollouts, strict=False))
        yield f"{unequal} of {len(rollouts[1])} rollouts differ"
    figures = [_without_clocks(artifact.record.result) for artifact in (ours, theirs)]
    if figures[0] != figures[1]:
        yield f"figures differ: {figures[0]} and {figures[1]}"


def _tokens(path: Path) -> list[Any]:
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["problem_id"], row.get("sample", 0), row["completion_ids"]) for row in rows]


def _largest_weight_difference(ours: Path, theirs: Path) -> float:
    from safetensors.torch import load_file

    a, b = (load_file(folder / "model.safetensors") for folder in (ours, theirs))
    return max(float((a[name] - b[name]).abs().max()) for name in b)


def _without_clocks(result: dict[str, Any]) -> dict[str, Any]:
    """Figures in which time plays no part; floats to six digits, which summing in another order does not touch."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if "seconds" not in k}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return float(f"{value:.5g}") if isinstance(value, float) else value

    cleaned: dict[str, Any] = plain(result)
    return cleaned


# ── a disk that fills ───────────────────────────────────────────────────────────────────────────────────────────────


def mount_small_disk(folder: Path, mib: int = 96) -> bool:
    """A file system of its own for a world; False where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    return sys.platform == "linux" and subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def with_full_disk(root: Path, run: Run, moment: Moment) -> None:
    """Fill the disk under a run, wait for it to give up, and make room again."""
    deadline = time.monotonic() + moment.seconds
    while time.monotonic() < deadline and run.process.poll() is None:
        time.sleep(0.02)
    if not os.path.ismount(root):
        raise RuntimeError(f"{root} is no file system of its own; filling it would fill the machine's")
    ballast = root / ".ballast"
    try:
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(b"\0" * 65536)
                    file.flush()
            except OSError:
                pass
        size = ballast.stat().st_size
        os.truncate(ballast, max(0, size - 1024 * moment.free_kib))
        try:
            run.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            run.process.terminate()
            time.sleep(2)
            run.process.kill()
    finally:
        ballast.unlink(missing_ok=True)
