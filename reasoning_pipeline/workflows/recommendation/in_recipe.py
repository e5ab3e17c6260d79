"""The keys that recommendation recipes have beside everybody's: `data: {path}`, `ranking`."""

from __future__ import annotations

from reasoning_pipeline.workflows.recommendation.section import DataFolder, RankingSection

CONTRIBUTES = (DataFolder(), RankingSection())
