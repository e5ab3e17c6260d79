"""The frozen teacher on a server of its own, and what becomes of a step when that server is killed."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from reasoning_pipeline.registry.store import Registry
from tests.run.conftest import SMOKE, Run, left_over, profile_with

pytestmark = pytest.mark.slow


def test_a_distillation_survives_the_loss_of_its_teachers_server(smoke_root: Path, tmp_path: Path) -> None:
    before = {process.pid for process in psutil.process_iter()}
    hardware = profile_with(tmp_path, teacher="server", teacher_top_k=8)
    recipe = SMOKE / "on_policy_distillation.yaml"
    changes = ["--set", "steps.distill.steps=12", "--set", "steps.distill.save_every=5"]
    run = Run("run", recipe, "--root", smoke_root, "--hardware", hardware, "--until", "distill", *changes)
    run.wait_for_step(smoke_root, "on_policy_distillation", 7)
    (own,) = [process for process in run.family("vllm.entrypoints") if "--enable-chunked-prefill" in process.cmdline()]
    own.kill()
    status, output = run.finish()
    assert status == 0, output
    assert "the teacher's server was lost; restarting it" in output
    assert "resuming after optimizer step 5" in (smoke_root / "smoke" / "logs" / "distill.log").read_text()
    made = [a.record for a in Registry(smoke_root).artifacts() if a.record.stage == "on_policy_distillation"]
    (record,) = [record for record in made if record.result["steps"] == 12]
    words = "coarsened to 9 outcomes, a lower bound"
    assert record.result["teacher"] == {"placement": "server", "top_k": 8, "divergence": words}
    assert left_over(before) == []
