"""A workflow is a folder: its stages, its keys of a recipe and its kinds of artifacts are found by being there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from reasoning_pipeline import workflows
from reasoning_pipeline.errors import PipelineError, RecipeError
from reasoning_pipeline.estimates.steps import estimate_plan
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.plan.judging import judgements
from reasoning_pipeline.recipe.workflows import _packaged, _stages, contributed, stage_kinds, workflow_folders
from reasoning_pipeline.registry.record import read_record
from tests.bench import Bench, write_files

WRITE_CHOICES = """
    from typing import Annotated, ClassVar, Literal
    from reasoning_pipeline.recipe.stage import File, ModelRef, UsesPrompts
    from reasoning_pipeline.recipe.work import Known, Work

    class Config(UsesPrompts):
        publishes: ClassVar[str] = "pairs"
        stage: Literal["write_choices"] = "write_choices"
        teacher: ModelRef
        rubric: Annotated[str | None, File()] = None
        more: Annotated[tuple[str, ...], File()] = ()
"""

LEARN_PAIRS = """
    from typing import Annotated, Literal
    from reasoning_pipeline.recipe.fields import Optimization
    from reasoning_pipeline.recipe.stage import Input, ModelRef, StageConfig
    from reasoning_pipeline.recipe.work import Known, Work

    class Config(StageConfig, Optimization):
        stage: Literal["learn_pairs"] = "learn_pairs"
        policy: ModelRef
        pairs: Annotated[str, Input("pairs")]

        def work(self, known: Known) -> Work:
            return Work(rows=8, steps=self.steps or 1, prompt_limit=100, completion_limit=900, trains=True, batch="8")
"""

MEASURE = """
    from typing import ClassVar, Literal
    from reasoning_pipeline.recipe.stage import ModelRef, StageConfig

    class Config(StageConfig):
        publishes: ClassVar[str] = "measurement"
        stage: Literal["measure_length"] = "measure_length"
        policy: ModelRef
"""

IN_RECIPE = """
    from pydantic import BaseModel, Field
    from reasoning_pipeline.recipe.sections import Section
    from reasoning_pipeline.recipe.workflows import stage_module

    class Lengths(BaseModel):
        longest: int = Field(ge=1)
        after: str

    class LengthSection(Section):
        key, model = "lengths", Lengths

        def problems(self, recipe, all_names):
            lengths = recipe.sections.get("lengths")
            if lengths is not None and lengths.after not in all_names:
                yield f"lengths.after: no step is called {lengths.after!r}"

        def after(self, recipe, step):
            lengths = recipe.sections.get("lengths")
            if lengths is not None and lengths.after == step:
                yield f"{step}.length", stage_module("measure_length").Config(policy=f"step:{step}")

    CONTRIBUTES = (LengthSection(),)
"""

IN_PLAN = """
    from reasoning_pipeline.plan.judging import Judge, Judgement

    class LengthJudge(Judge):
        def judge(self, plan, step):
            if step.config.stage != "measure_length" or step.artifact is None:
                return None
            found = step.artifact.record.result["length"]
            held = found <= plan.recipe.sections["lengths"].longest
            return Judgement(step=step.name, gate="length", held=held, on_failure="stop", sentence=f"{found} tokens")

    CONTRIBUTES = (LengthJudge(),)
"""

Place = Callable[..., None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """place({"stages/write_choices.py": SOURCE}, name) makes a workflow of these files, beside those that ship."""
    caches = (workflow_folders, _stages, contributed, _packaged)
    folder = tmp_path / "workflows"
    monkeypatch.setattr(workflows, "__path__", [*workflows.__path__, str(folder)])

    def make(files: dict[str, str], name: str = "pairs") -> None:
        texts = {"__init__.py": "", "stages/__init__.py": "", **{path: dedent(text) for path, text in files.items()}}
        write_files(folder / name, texts)
        for cache in caches:
            cache.cache_clear()

    yield make
    for cache in caches:
        cache.cache_clear()
    for module in [name for name in sys.modules if name.startswith("reasoning_pipeline.workflows.pairs")]:
        del sys.modules[module]


PAIRS = {"stage": "write_choices", "teacher": "step:teacher_base", "prompts": "first"}
LEARN = {"stage": "learn_pairs", "policy": "step:student_base", "pairs": "step:pairs", "steps": 2}


def with_pairs(recipe: dict, **changes: object) -> None:
    recipe["steps"] = {name: recipe["steps"][name] for name in ("teacher_base", "student_base")} | {
        "pairs": {**PAIRS, **changes},
        "dpo": dict(LEARN),
    }
    recipe.pop("evaluate")


def test_a_kind_of_artifact_is_a_word_that_a_stage_says(bench: Bench, place: Place):
    place({"stages/write_choices.py": WRITE_CHOICES, "stages/learn_pairs.py": LEARN_PAIRS})
    assert {"write_choices", "learn_pairs", "sparse_grpo"} <= set(stage_kinds())
    plan = bench.plan(with_pairs)
    (artifact,) = bench.publish(plan, "pairs", files={"pairs.jsonl": "{}\n"})
    assert read_record(artifact.folder).kind == "pairs"
    assert bench.plan(with_pairs).step("pairs").complete
    with pytest.raises(RecipeError, match=r"steps\.dpo\.pairs: 'step:student_base' publishes checkpoint, but pairs"):
        bench.recipe(with_pairs, lambda r: r["steps"]["dpo"].update(pairs="step:student_base"))


def test_a_kind_that_is_no_word_is_found_when_the_recipe_is_read(bench: Bench, place: Place):
    # not an hour later, when the record is written
    odd = WRITE_CHOICES.replace('"pairs"', '"Pairs of mine"')
    place({"stages/write_choices.py": odd, "stages/learn_pairs.py": LEARN_PAIRS})
    said = r"steps\.pairs\.stage: write_choices publishes 'Pairs of mine', which cannot name"
    with pytest.raises(RecipeError, match=said):
        bench.recipe(with_pairs)


def test_a_file_counts_by_what_it_holds(bench: Bench, place: Place):
    place({"stages/write_choices.py": WRITE_CHOICES, "stages/learn_pairs.py": LEARN_PAIRS})

    def fingerprint(name: str, text: str) -> str:
        bench.write(text, name)
        return bench.plan(lambda r: with_pairs(r, rubric=name)).step("pairs").fingerprint

    assert fingerprint("a.txt", "be brief") == fingerprint("sub/b.txt", "be brief") != fingerprint("a.txt", "be kind")
    step = bench.plan(lambda r: with_pairs(r, rubric="a.txt", more=["a.txt", "sub/b.txt"])).step("pairs")
    assert set(step.identity["files"]) == {"rubric", "more"} and len(step.identity["files"]["more"]) == 2
    assert "rubric" not in step.identity["config"]
    with pytest.raises(RecipeError, match=r"write_choices\.rubric: no file 'gone\.txt'"):
        bench.plan(lambda r: with_pairs(r, rubric="gone.txt"))
    without = bench.plan(with_pairs).step("pairs")
    assert "files" not in without.identity


def test_work_that_a_config_tells_is_estimated(bench: Bench, place: Place):
    place({"stages/write_choices.py": WRITE_CHOICES, "stages/learn_pairs.py": LEARN_PAIRS})
    found = {e.step: e for e in estimate_plan(bench.plan(with_pairs), load_profile("one_gpu_80gb"))}
    assert found["dpo"].trainer_bytes > 0 and found["dpo"].hours is not None
    assert found["dpo"].tokens_trained == pytest.approx(8 * 2 * (100 + 225))  # a quarter of the limit, and the prompt
    assert found["pairs"].trainer == {} and found["pairs"].hours is None  # it says nothing


def test_a_key_of_its_own_puts_steps_into_the_plan_and_judges_them(bench: Bench, place: Place):
    place({"stages/measure_length.py": MEASURE, "in_recipe.py": IN_RECIPE, "in_plan.py": IN_PLAN})
    plan = bench.plan(lambda r: r.update(lengths={"longest": 20, "after": "distill"}))
    assert plan.names()[plan.names().index("distill") + 2] == "distill.length"  # behind the evaluation
    bench.publish(plan, "distill")
    bench.publish(plan, "distill.length", result={"length": 30})
    assert [(j.step, j.held) for j in judgements(plan.refreshed())] == [("distill.length", False)]
    with pytest.raises(RecipeError) as error:
        bench.recipe(lambda r: r.update(lengths={"longest": 0, "after": "distil"}), lambda r: r.update(length={}))
    assert [p.partition(" (")[0] for p in error.value.problems] == [
        "lengths.longest: input should be greater than or equal to 1",
        'length: unknown key; did you mean "lengths"?',
    ]
    with pytest.raises(RecipeError, match=r"lengths\.after: no step is called 'distil'"):
        bench.recipe(lambda r: r.update(lengths={"longest": 2, "after": "distil"}))


def test_two_workflows_may_not_call_two_stages_alike(place: Place):
    place({"stages/sparse_grpo.py": MEASURE})
    with pytest.raises(PipelineError, match=r"two stages are called sparse_grpo"):
        stage_kinds()
