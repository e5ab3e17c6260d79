"""A companion of a training: kept in resume points, heard of in metrics and record, able to end it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import Stopped
from reasoning_pipeline.run.metrics import read_metrics
from reasoning_pipeline.training.companions import Companion
from reasoning_pipeline.workflows.reasoning.reward import VerifiedReward
from reasoning_pipeline.workflows.reasoning.stages import teacher_sft
from tests.training.test_trl_bridge import context_for, stop_after, write_rollouts


class Counts(Companion):
    """Counts optimizer steps over interruptions, and ends the training at the fourth."""

    logs = ("grad_norm", "never_logged")

    def __init__(self) -> None:
        self.steps = 0

    def look(self, step: int) -> bool:
        self.steps += 1
        return self.steps == 4

    def measured(self, step: int) -> dict[str, float]:
        return {"counted": float(self.steps)}

    def state(self) -> dict[str, Any]:
        return {"counted": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        self.steps = state.get("counted", 0)

    def result(self) -> dict[str, Any]:
        return {"counted": self.steps}

    def save(self, output: Path) -> None:
        (output / "counted.txt").write_text(str(self.steps))


@pytest.mark.slow
def test_it_goes_on_where_the_resume_point_stopped_and_ends_the_training(tmp_path: Path, tiny_model: Path) -> None:
    from reasoning_pipeline.training.loop import train

    inputs = {
        "policy": tiny_model,
        "rollouts": write_rollouts(tmp_path / "rollouts", PromptRenderer.from_folder(tiny_model), 8),
    }
    config = teacher_sft.Config(policy="p", rollouts="r", seed=3, steps=9, rollouts_per_step=4, save_every=50)

    def run(calls: int) -> Any:
        context = context_for(config, tmp_path / "work", inputs)
        stop_after(context, calls=calls)
        trainer = teacher_sft.make_trainer(config, context)
        trainer.companions = [Counts()]
        return train(trainer, context)

    with pytest.raises(Stopped, match="after optimizer step 2"):
        run(calls=2)
    point = tmp_path / "work" / "checkpoints" / "checkpoint-2"
    assert json.loads((point / "own-0.json").read_text())["counted"] == 2
    outcome = run(calls=99)
    assert (outcome.result["steps"], outcome.result["counted"]) == (4, 4)
    assert (outcome.folder / "counted.txt").read_text() == "4"
    rows = read_metrics(tmp_path / "work" / "metrics.jsonl")
    assert [row["counted"] for row in rows] == [1, 2, 3, 4] and "never_logged" not in rows[0]


def test_verdicts_of_a_resume_point_are_counted_on_and_an_older_one_may_lack_them(tmp_path: Path) -> None:
    kept = {"verdicts": {"correct": 3}, "disagreements": [{"gold": "1", "prediction": "2", "question": "?"}]}
    reward = VerifiedReward(group_size=2, stop_ids=[2])
    reward.restore({"saving_seconds": 1.0})
    assert reward.result() == {"verdicts": {}}
    reward.restore(kept)
    assert reward.state() == kept
    reward.save(tmp_path)
    assert len((tmp_path / "disagreements.jsonl").read_text().splitlines()) == 1
