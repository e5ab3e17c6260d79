"""On a real Slurm: a plan as a chain of jobs, and everything that ends a job early. All of it is queued at once."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.registry.store import Artifact, Registry
from tests.launch.cluster import Cluster, wait_until
from tests.launch.conftest import SMOKE, Bench

pytestmark = pytest.mark.slow

CHAIN = SMOKE / "extra_rl.yaml"
SECRET = "hf_0123456789abcdefghij"
SEEDS = ("--seeds", "0,1")
LONG = 300
"""Seconds that a crowded machine may take for what takes a tenth of it."""


@dataclass
class Submitted:
    bench: Bench
    chain: Path
    preempted: Path
    limited: Path
    failing: Path
    jobs: dict[str, dict[str, str]]
    """Recipe -> step -> job."""


@pytest.fixture(scope="module")
def submitted(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Submitted:
    bench = Bench(tmp_path_factory.mktemp("slurm"))
    preempted = bench.recipe("preempted")
    limited = bench.recipe("limited", steps=5000, save_every=5000)
    # 5 steps do not teach arithmetic, so the step ends with a sentence that says so.
    failing = bench.recipe("failing", base={"stop_accuracy": 0.99, "seed": 9})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", SECRET)
        jobs = {
            "preempted": bench.submit(preempted, bench.profile(), *SEEDS),
            "failing": bench.submit(failing, bench.profile()),
            "limited": bench.submit(
                limited, bench.profile("minute", time_limit="1", by_stage={"pretrain": {"time_limit": "10"}})
            ),
            "chain": bench.submit(CHAIN, bench.profile(), "--set", "evaluate.of=[polish]"),
        }
    return Submitted(bench, CHAIN, preempted, limited, failing, jobs)


def rl_of(bench: Bench, recipe: Path, name: str = "rl") -> tuple[Path, Artifact | None]:
    """The work folder of a recipe's GRPO step, and its artifact."""
    step = make_plan(load_recipe(recipe), bench.root, (0, 1)).step(name)
    return bench.root / "work" / step.output, step.artifact


def optimizer_step(work: Path) -> int:
    try:
        return int(json.loads((work / "progress.json").read_text())["step"])
    except (OSError, ValueError, KeyError):
        return 0


def resumed_at(bench: Bench, recipe: Path, name: str = "rl") -> int:
    """What the newest run of the GRPO step says it resumed from."""
    log = bench.root / recipe.stem / "logs" / f"{name}.log"
    found = re.findall(r"resuming after optimizer step (\d+)", log.read_text() if log.is_file() else "")
    return int(found[-1]) if found else 0


def test_what_is_queued_is_not_submitted_again(submitted: Submitted) -> None:
    before = submitted.bench.submissions(CHAIN)
    again = submitted.bench.submit(CHAIN, submitted.bench.profile(), "--set", "evaluate.of=[polish]")
    assert again == submitted.jobs["chain"] and submitted.bench.submissions(CHAIN) == before
    after = {entry["step"]: entry["after"] for entry in before}
    jobs = submitted.jobs["chain"]
    assert after["teacher_base"] == [] and after["polish.evaluate"] == [jobs["polish"]]
    assert after["warmup"] == [jobs["student_base"], jobs["teacher_rl"], jobs["teacher_rollouts"]]


def test_a_preempted_task_of_an_array_goes_on_from_its_resume_point(submitted: Submitted, cluster: Cluster) -> None:
    bench, recipe, jobs = submitted.bench, submitted.preempted, submitted.jobs["preempted"]
    assert (jobs["rl"].split("_")[1], jobs["rl@1"].split("_")[1]) == ("0", "1"), "one array, a task a seed"
    work, _ = rl_of(bench, recipe, "rl@1")
    wait_until(lambda: optimizer_step(work) >= 7, LONG, "7 optimizer steps")
    cluster.ask("scontrol", "requeue", jobs["rl@1"])
    wait_until(lambda: rl_of(bench, recipe, "rl@1")[1] is not None, LONG, "the step to be published")
    assert resumed_at(bench, recipe, "rl@1") >= 5
    artifact = rl_of(bench, recipe, "rl@1")[1]
    assert artifact is not None
    rows = [json.loads(line) for line in (artifact.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 41)), "every optimizer step once"
    wait_until(lambda: rl_of(bench, recipe, "rl")[1] is not None, LONG, "the other seed, which nobody disturbed")
    assert resumed_at(bench, recipe, "rl") == 0


def test_what_depends_on_a_failed_step_does_not_start(submitted: Submitted, cluster: Cluster) -> None:
    bench, recipe = submitted.bench, submitted.failing
    wait_until(lambda: bench.launch("status", recipe)[0] == 1, LONG, "the step to fail")
    rl = submitted.jobs["failing"]["rl"]
    wait_until(lambda: rl not in cluster.ask("squeue", "-h", "-o", "%i").split(), LONG, "its child to be cancelled")
    status, printed = bench.launch("status", recipe)
    assert status == 1
    assert re.search(r"^base +failed +\d+ .*exit 1:0", printed, re.MULTILINE), printed
    assert re.search(r"^rl +cancelled", printed, re.MULTILINE), printed
    assert "the model reached a greedy accuracy of" in printed, "the end of its log"
    assert rl_of(bench, recipe)[0].exists() is False


def test_a_job_at_its_time_limit_saves_queues_itself_again_and_goes_on(submitted: Submitted) -> None:
    # Slurm sends the signal 30 s before the minute is over, or up to 30 s earlier; `save_every` alone saves nothing
    bench, recipe = submitted.bench, submitted.limited
    wait_until(lambda: resumed_at(bench, recipe) > 0, LONG, "the second run to resume")
    job = submitted.jobs["limited"]["rl"]
    log = (bench.root / "limited" / "logs" / "slurm" / f"rl-{job}.out").read_text()
    assert "rl was stopped; last resume point: step " in log and "back into the queue" in log
    assert "DUE TO TIME LIMIT" not in log, "it left before Slurm ended it"
    assert [entry["job"] for entry in bench.submissions(recipe) if entry["step"] == "rl"] == [job], "the same job"


def test_cancel_ends_what_runs_and_keeps_its_resume_point(submitted: Submitted, cluster: Cluster) -> None:
    bench, recipe, job = submitted.bench, submitted.limited, submitted.jobs["limited"]["rl"]
    work, _ = rl_of(bench, recipe)
    status, printed = bench.launch("cancel", recipe)
    assert (status, f"{job}  rl  cancelled" in printed) == (0, True), printed
    wait_until(lambda: job not in cluster.ask("squeue", "-h", "-o", "%i").split(), 60, "the job to leave the queue")
    assert list(work.glob("checkpoints/checkpoint-*/complete"))
    assert re.search(r"^rl +cancelled", bench.launch("status", recipe)[1], re.MULTILINE)
    assert bench.launch("cancel", recipe) == (0, "nothing of this recipe is queued\n")


def test_the_chain_completes_and_holds_no_secret(submitted: Submitted) -> None:
    bench = submitted.bench
    wait_until(
        lambda: not re.search("running|queued|waiting", bench.launch("status", CHAIN)[1]), LONG, "the chain to end"
    )
    status, printed = bench.launch("status", CHAIN)
    assert status == 0 and "write the report with" in printed, printed
    made = {artifact.record.step for artifact in Registry(bench.root).artifacts() if artifact.record.recipe == "smoke"}
    assert made == set(submitted.jobs["chain"])
    assert bench.launch("slurm", CHAIN, "--hardware", bench.profile(), "--set", "evaluate.of=[polish]")[1].startswith(
        "nothing to submit"
    )
    texts = [path for path in bench.root.rglob("*") if path.is_file() and path.suffix in (".sh", ".json", ".out")]
    assert len(texts) > 20 and not [path for path in texts if SECRET in path.read_text()]


def test_two_nodes_train_what_one_process_trains(submitted: Submitted, tmp_path: Path) -> None:
    # the warmup again, from the same inputs: one process on each of two nodes, meeting over gloo
    chain, two = submitted.bench, Bench(tmp_path)
    shutil.copytree(chain.root / "registry", two.root / "registry")
    plan = make_plan(load_recipe(CHAIN), two.root)
    single = plan.step("warmup").artifact
    assert single is not None
    expected = load_file(single.folder / "model.safetensors")
    shutil.rmtree(single.folder)
    launcher = {"engine": "vllm", "processes": 2, "accelerate_config": "ddp.yaml"}
    two.submit(CHAIN, two.profile("two", launcher, nodes=2), "--only", "warmup")
    wait_until(lambda: "running" not in (s := two.launch("status", CHAIN)[1]) and "queued" not in s, LONG, "its end")
    log = two.root / "smoke" / "logs" / "warmup.log"
    assert single.folder.is_dir(), log.read_text() if log.is_file() else two.launch("status", CHAIN)[1]
    found = load_file(single.folder / "model.safetensors")
    assert max(float(abs(found[name] - expected[name]).max()) for name in expected) < 1e-6
