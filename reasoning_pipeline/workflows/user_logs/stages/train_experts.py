"""Experts: one low-rank adapter a cluster, by DPO and SFT on its pairs; the model itself is never written.

L = 0.5 · L_DPO(beta 0.1) + 0.5 · L_SFT(chosen) (arXiv 2602.06470), through TRL's DPOTrainer; the reference is the
model with the adapter off. Clusters with a high gap start no job, nor do those with fewer than `least_logs`. After
training each epoch answers the held-out queries and the judge compares it with the base (choice.py); which epoch is
taken, if any, `choose_modules` decides. A killed step goes on inside the cluster where it was. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/train_experts.yaml
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from reasoning_pipeline.base.jsonl import read_rows
from reasoning_pipeline.recipe.stage import Input
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.speaking import Memory, Speaker, speaker
from reasoning_pipeline.workflows.user_logs.choice import win
from reasoning_pipeline.workflows.user_logs.clusters import Grouping, split
from reasoning_pipeline.workflows.user_logs.gap import load_gaps
from reasoning_pipeline.workflows.user_logs.online import INCUMBENT, Before, parted
from reasoning_pipeline.workflows.user_logs.pairs import PAIRS_FILE
from reasoning_pipeline.workflows.user_logs.roles import Judge, judge
from reasoning_pipeline.workflows.user_logs.rules import RuledLog, load_rules
from reasoning_pipeline.workflows.user_logs.settings import Judging, OfClusters, Writing
from reasoning_pipeline.workflows.user_logs.validation import Expert, save_experts


class Config(OfClusters, Writing):
    publishes: ClassVar[str] = "experts"
    heavy: ClassVar[bool] = False

    stage: Literal["train_experts"] = "train_experts"
    pairs: Annotated[str, Input("pairs")]
    """Preference pairs of these logs."""
    judge: Annotated[str | None, Input("checkpoint")] = None
    """The model that compares, where `judging.by: model`; the policy where it is not given."""
    judging: Judging = Judging()
    """How the judge is asked."""
    beta: float = Field(0.1, gt=0)
    """Of DPO: how dear it is to move from the reference."""
    losses: tuple[str, ...] = ("sigmoid", "sft")
    """TRL's `loss_type` list."""
    loss_weights: tuple[float, ...] = (0.5, 0.5)
    """One for each of `losses`."""
    separate_acceptance: bool = True
    """Half of the held-out logs choose the epoch, the other half accept it; off, all do both, as in the paper."""

    def work(self, known: Known) -> Work | None:
        rules = known.made_by("rules")
        if rules is None:
            return None
        pairs = self.train_share * (rules.rows // 2)
        return Work(
            rows=2 * self.rows_per_step,  # chosen and rejected
            steps=(self.epochs or 1) * pairs / self.rows_per_step,
            prompt_limit=self.max_prompt_tokens,
            completion_limit=self.max_completion_tokens,
            scorings=1,
            trains=True,
            batch="rows_per_step",
            lora=self.lora,
        )

    @model_validator(mode="after")
    def _a_weight_each(self) -> Config:
        if len(self.losses) != len(self.loss_weights):
            raise ValueError(f"{len(self.losses)} losses and {len(self.loss_weights)} loss_weights: one for each")
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the adapter of every epoch, and experts.json with what each won."""
    from reasoning_pipeline.rollouts.adapted import AdaptedModel

    ruled = {one.log.id: one for one in load_rules(context.inputs["rules"])}
    pairs = {row["id"]: row for row in read_rows(context.inputs["pairs"] / PAIRS_FILE)}
    grouping, gaps = Grouping.load(context.inputs["clusters"]), load_gaps(context.inputs.get("gap"))
    before = Before.of(context.inputs.get("before"), grouping)
    memory = Memory(context.work / "replies.jsonl")
    limit = config.max_prompt_tokens
    adapted = AdaptedModel(context.inputs["policy"], dtype=context.profile.precision, device=context.profile.device)
    policy = speaker(context, "policy", max_prompt_tokens=limit, memory=memory, sampler=adapted)
    referee = policy if config.judging.by == "model" else None
    if referee is not None and config.judge is not None:
        referee = speaker(context, "judge", max_prompt_tokens=limit, memory=memory)
    compare = _Comparison(config, policy, judge(referee, config.judging, config.split_seed), ruled)

    metrics = context.start_metrics(total_steps=grouping.count)
    experts, skipped, saved = [], {}, 0
    for cluster in range(grouping.count):
        context.stop_if_asked()
        members = grouping.members(cluster, pairs)
        if gaps.get(cluster, 0.0) > config.gap_threshold:
            skipped[cluster], saved = "high gap", saved + len(members)
        elif len(members) < config.least_logs:
            skipped[cluster] = f"{len(members)} pairs, fewer than {config.least_logs}"
        else:
            learned = before.learned if before is not None else ()
            train, held = parted(members, learned, config.split_seed, config.train_share)
            epochs = _train(config, context, policy, [pairs[name] for name in train], _place(context, cluster))
            if before is not None and (incumbent := before.adapter("expert", cluster)) is not None:
                epochs = {INCUMBENT: _taken(incumbent, _place(context, cluster)), **epochs}
            selection, acceptance = held, held
            if config.separate_acceptance and len(held) > 1:
                selection, acceptance = split(held, config.split_seed, (0.5,))
            wins = {epoch: compare.wins(adapter, held) for epoch, adapter in epochs.items()}
            experts.append(
                Expert(
                    cluster=cluster,
                    learned=tuple(train),
                    wins=wins,
                    selection=tuple(selection),
                    acceptance=tuple(acceptance),
                )
            )
        metrics.write(cluster + 1, experts=len(experts))
        print(f"cluster {cluster}: {skipped.get(cluster, 'trained')}")
    metrics.close()
    output = context.fresh_output()
    for expert in experts:
        for epoch in expert.wins:
            shutil.copytree(_place(context, expert.cluster) / f"epoch-{epoch}", output / _name(expert.cluster, epoch))
    save_experts(output, experts)
    return StageOutcome(
        output,
        {
            "jobs": len(experts),
            "skipped": {str(cluster): why for cluster, why in skipped.items()},
            "pairs": len(pairs),
            "pairs_trained_on": sum(len(expert.learned or ()) for expert in experts),
            "saved_by_gap": saved / max(len(pairs), 1),
            "kept": [expert.cluster for expert in experts if expert.chosen() == INCUMBENT],
            "judge": "a model" if referee is not None else "a program, in the place of a model",
            "seconds": round(metrics.seconds, 2),
        },
    )


def _place(context: StageContext, cluster: int) -> Path:
    return context.work / "adapters" / f"cluster-{cluster}"


def _name(cluster: int, epoch: int) -> str:
    return f"cluster-{cluster}/epoch-{epoch}"


def _taken(incumbent: Path, place: Path) -> Path:
    """An earlier system's expert among the epochs, under the name of none."""
    copy = place / f"epoch-{INCUMBENT}"
    if not copy.is_dir():
        shutil.copytree(incumbent, copy)
    return copy


def _train(
    config: Config, context: StageContext, policy: Speaker, pairs: list[dict[str, Any]], folder: Path
) -> dict[int, Path]:
    from reasoning_pipeline.training.adapters import Preference, train_adapter

    rows = []
    for pair in pairs:
        prompt, chosen = policy.ids(pair["prompt"], pair["chosen"])
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": policy.ids("", pair["rejected"])[1]})
    return train_adapter(
        config,
        context,
        rows,
        folder,
        base=context.inputs["policy"].name,
        rows_per_step=config.rows_per_step,
        max_length=config.max_length,
        preference=Preference(losses=config.losses, weights=config.loss_weights, beta=config.beta),
    )


@dataclass(frozen=True)
class _Comparison:
    """An adapter's answers to held-out queries against the base's."""

    config: Config
    policy: Speaker
    judge: Judge
    ruled: dict[str, RuledLog]

    def wins(self, adapter: Path, names: list[str]) -> dict[str, float | None]:
        asked = [self.ruled[name] for name in names]
        base = self._answers(asked, None)
        ours = self._answers(asked, adapter)
        scores = self._scores(asked, ours), self._scores(asked, base)
        return {
            name: win(score, before, answer, plain)
            for name, score, before, answer, plain in zip(names, *scores, ours, base, strict=True)
        }

    def _answers(self, asked: list[RuledLog], adapter: Path | None) -> list[str]:
        return self.policy.answer([one.log.question for one in asked], self.config.decoding(), adapter=adapter)

    def _scores(self, asked: list[RuledLog], answers: list[str]) -> list[float | None]:
        return self.judge(
            [(one.log.question, one.rules, text, one.log.language) for one, text in zip(asked, answers, strict=True)]
        )
