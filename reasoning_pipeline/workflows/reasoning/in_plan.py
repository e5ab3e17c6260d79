"""Who judges what reasoning recipes measure along the way."""

from __future__ import annotations

from reasoning_pipeline.workflows.reasoning.gates.judging import GateJudge

CONTRIBUTES = (GateJudge(),)
