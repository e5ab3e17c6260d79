"""The map as it is declared: which cells, in which order, what each changes; and the page written from results."""

from __future__ import annotations

import signal
import time
from itertools import islice
from pathlib import Path

import pytest

from benchmarks import ceilings, figure_pictures, map, when_it_pays
from benchmarks.map_cells import RECIPE, SEARCH, declared, name_of, ordered, recipe_of
from reasoning_pipeline.data.arithmetic import ArithmeticWorld
from reasoning_pipeline.data.suites.spec import suite_spec
from reasoning_pipeline.errors import DataError, Stopped
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.model import MAIN
from reasoning_pipeline.registry.record import distinct_labels
from tests.workflows.reasoning.map_rows import write_map

DECLARED = declared()
ORDER = ordered(DECLARED)


def test_every_cell_once_and_the_first_ones_far_apart():
    names = [name_of(cell) for cell in ORDER]
    assert len(names) == len(set(names)) == 2 * 3 * 3 * 4
    assert ORDER[0] == DECLARED.first
    # after the first, the sixteen corners come before anything between them
    ends = [{next(iter(levels)), list(levels)[-1]} for levels in DECLARED.axes.values()]
    corners = [all(cell[axis] in end for axis, end in zip(DECLARED.axes, ends, strict=True)) for cell in ORDER]
    assert sum(corners) == 16 and sum(islice(corners, 18)) >= 15


@pytest.mark.parametrize("cell", ORDER[:2], ids=name_of)
def test_a_cell_is_what_its_levels_say(cell: dict[str, str], tmp_path: Path):
    recipe = recipe_of(cell, RECIPE, ["steps.teacher_rl.steps=7", "arms.direct.steps.grpo.learning_rate=5e-4"])
    assert recipe.steps["teacher_rl"].steps == 7  # type: ignore[attr-defined]
    assert recipe.arms["direct"].steps["grpo"].learning_rate == 5e-4  # type: ignore[attr-defined]
    plan = make_plan(recipe, tmp_path, recipe.seeds[:1])
    # equal labels: both arms spend all that the cell has
    outcomes = {arm.name: plan.step(arm.outcome) for arm in plan.arms if arm.outcome is not None}
    assert {distinct_labels(step.lineage) for step in outcomes.values()} == {int(cell["labels"])}
    # one world for both models, the labels, what measures the teacher, and the test set
    suite = recipe.sections["evaluate"].suites[0]
    generator = suite_spec(suite).generator
    assert generator is not None
    worlds = {recipe.data["problems"].world, recipe.data["held_out"].world, generator.world}
    worlds |= {recipe.steps[name].world for name in ("teacher_base", "student_base")}  # type: ignore[attr-defined]
    assert len(worlds) == 1
    # the teacher's size is what the level says, to a tenth
    sizes = {name: plan.step(arm_step).config for name, arm_step in plan.arms[0].steps.items()}
    assert sizes["teacher_base"].architecture != sizes["student_base"].architecture  # type: ignore[attr-defined]


def test_the_search_has_other_seeds_and_other_problems_and_enough_compute_for_the_baseline():
    recipe, search = (recipe_of(ORDER[0], path) for path in (RECIPE, SEARCH))
    assert not set(recipe.seeds) & set(search.seeds)
    assert search.sections["evaluate"].suites == ("map_near_validation",)
    assert search.data["problems"] == recipe.data["problems"]
    arms = {MAIN: search.steps, **{name: arm.steps for name, arm in search.arms.items()}}

    def rollouts(steps: dict) -> int:
        """Written and learned from by the student and its teacher, whichever writes them."""
        grpo = [s for s in steps.values() if s.stage in ("sparse_grpo", "extra_rl")]
        bridge = [s for s in steps.values() if s.stage in ("forward_kl_warmup", "on_policy_distillation")]
        return sum(s.steps * s.problems_per_step * s.group_size for s in grpo) + sum(
            s.steps * s.rollouts_per_step for s in bridge
        )

    most = max(rollouts(steps) for name, steps in arms.items() if not name.startswith("direct"))
    assert max(rollouts(steps) for name, steps in arms.items() if name.startswith("direct")) >= most


def test_rows_of_another_definition_are_refused(tmp_path: Path):
    path = write_map(tmp_path / "map.csv", 2)
    with pytest.raises(DataError, match="were run under another definition of the map"):
        map.read_rows(path)
    assert map.read_rows(tmp_path / "none.csv") == []


def test_hours_end_what_runs_as_a_signal_does():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped), map._ending_after(hours=1e-5):
        time.sleep(20)
    with map._ending_after(hours=None):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("cells", [1, 5, 40])
def test_the_page_is_written_from_as_many_cells_as_there_are(cells: int, tmp_path: Path):
    figures = tmp_path / "docs" / "figures"
    figures.mkdir(parents=True)
    assert "No cell has been run yet" in when_it_pays.page(tmp_path)[1]
    write_map(figures / "map.csv", cells)
    path, text = when_it_pays.page(tmp_path)
    assert path == tmp_path / "docs" / "when_it_pays.md"
    # starts are 10 to 30 %: gains of 15 down to 5 points, 4 to either side, so every cell is ahead
    said = (
        f"{cells} cell{'s' if cells > 1 else ''} of 72 run: the workflow is ahead beyond noise in {cells}, behind in 0"
    )
    assert said in text and ("a drawing and no finding" in text) == (cells == 5)
    assert ("What decides cannot be said" in text) == (cells < 12)
    assert ("known before any training" in text) == (cells >= 4) and max(map_len(text)) <= 400
    drawn = dict(figure_pictures.pictures(tmp_path))
    assert "<svg" in drawn[figures / "map.svg"]


def test_a_curve_begins_at_an_untrained_model_and_ends_with_its_steps():
    first, *_, last = list(ceilings.learn(ArithmeticWorld(written_every=2), 32, steps=3))
    assert (first["step"], last["step"]) == (0, 3) and first["parameters"] == last["parameters"] > 10_000
    assert 0 <= last["accuracy"] <= 1


def test_curves_of_unlimited_data_are_drawn_and_told(tmp_path: Path):
    figures = tmp_path / "docs" / "figures"
    figures.mkdir(parents=True)
    points = [
        f"{world},{size},{500 * size},{100 * n},{0.1 * n}"
        for world in ("near", "far")
        for size in (32, 64)
        for n in range(4)
    ]
    (figures / "map_ceilings.csv").write_text("\n".join(["world,hidden_size,parameters,step,accuracy", *points]) + "\n")
    drawn = dict(figure_pictures.pictures(tmp_path))[figures / "map_ceilings.svg"]
    assert "16,000 parameters" in drawn and "32,000 parameters" in drawn
    text = when_it_pays.page(tmp_path)[1]
    assert "| near | 30.0 | 30.0 |" in text and "stays below 85 %" in text and "does not end higher" in text


TINY = [
    *(
        f"steps.{model}.{key}"
        for model in ("teacher_base", "student_base")
        for key in ("clean_steps=20", "noisy_steps=0")
    ),
    *(
        "steps.student_base.stop_accuracy=null",
        "steps.teacher_rl.steps=2",
        "steps.warmup.steps=2",
        "steps.distill.steps=2",
    ),
    *(
        "steps.polish.steps=2",
        "steps.teacher_rollouts.rollouts_per_prompt=1",
        "data.held_out.count=20",
        "evaluate.limit=8",
    ),
    "evaluate.samples=1",
]
TINY_ARMS = {
    RECIPE: ["seeds=[0]", "arms.direct.steps.grpo.steps=2"],
    SEARCH: [
        *("seeds=[100]", "arms.stage1_160.steps.teacher_rl.steps=3"),
        *(f"arms.{name}.steps.grpo.steps=2" for name in recipe_of(ORDER[0], SEARCH).arms if "direct" in name),
    ],
}


@pytest.mark.slow
def test_a_cell_is_run_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    plain = recipe_of
    monkeypatch.setattr(
        map, "recipe_of", lambda cell, path, settings=(): plain(cell, path, [*TINY, *TINY_ARMS[path], *settings])
    )
    arguments = ["--root", str(tmp_path), "--cells", "near_l64_t1_s15", "--out", str(tmp_path / "map.csv")]
    assert map.main(["run", *arguments]) == 0
    workflow, direct = map.read_rows(tmp_path / "map.csv")
    assert (workflow["arm"], direct["arm"]) == ("workflow", "direct")
    # what the search chose is what was run, and told
    assert workflow["setting"] in ("main", "stage1_160") and direct["setting"].startswith("direct_lr")
    assert workflow["labels_spent"] == direct["labels_spent"] == "64" and float(workflow["teacher_size"]) > 1
    assert float(workflow["gain"]) == pytest.approx(float(workflow["mean"]) - float(direct["mean"]))
    assert float(workflow["cpu_minutes"]) > 0 and float(workflow["kl_before"]) > 0
    capsys.readouterr()
    assert map.main(["plan", *arguments]) == 0 and "near_l64_t1_s15          done" in capsys.readouterr().out


def map_len(text: str) -> list[int]:
    return [len(line) for line in text.splitlines() if not line.startswith(("|", "Not run", "- "))]
