"""The keys that reasoning recipes have beside everybody's: `gates`, `evaluate`, `published`."""

from __future__ import annotations

from reasoning_pipeline.workflows.reasoning.evaluation import Evaluate
from reasoning_pipeline.workflows.reasoning.gates.section import Gates
from reasoning_pipeline.workflows.reasoning.published import PublishedSection

CONTRIBUTES = (Gates(), Evaluate(), PublishedSection())
