"""Experts: one low-rank adapter a cluster, by DPO and SFT on its pairs; the model itself is never written.

L = 0.5 · L_DPO(beta 0.1) + 0.5 · L_SFT(chosen) (arXiv 2602.06470), through TRL's DPOTrainer; the reference is the
model with the adapter off. Clusters with a high gap start no job, nor do those with fewer than `least_logs`. After
training each epoch answers the held-out queries and the judge compares it with the base (choice.py); which epoch is
taken, if any, `choose_modules` decides. A killed step goes on inside the cluster where it was. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/train_experts.yaml
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from reasoning_pipeline.base.jsonl import read_rows
from reasoning_pipeline.recipe.stage import Input
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.speaking import Memory, Speaker, speaker
from reasoning_pipeline.workflows.user_logs.adapters import train
from reasoning_pipeline.workflows.user_logs.choice import Expert, save_experts, win
from reasoning_pipeline.workflows.user_logs.clusters import Grouping, split
from reasoning_pipeline.workflows.user_logs.gap import load_gaps
from reasoning_pipeline.workflows.user_logs.online import INCUMBENT, Before
from reasoning_pipeline.workflows.user_logs.pairs import PAIRS_FILE
from reasoning_pipeline.workflows.user_logs.roles import Judge, judge_of
from reasoning_pipeline.workflows.user_logs.rules import RuledLog, load_rules
from reasoning_pipeline.workflows.user_logs.settings import PLAYED, AdapterTraining, Judged, Writing


class Config(AdapterTraining, Judged, Writing):
    publishes: ClassVar[str] = "experts"

    stage: Literal["train_experts"] = "train_experts"
    pairs: Annotated[str, Input("pairs")]
    """Preference pairs of these logs."""
    beta: float = Field(0.1, gt=0)
    """Of DPO: how dear it is to move from the reference."""
    losses: tuple[str, ...] = ("sigmoid", "sft")
    """TRL's `loss_type` list."""
    loss_weights: tuple[float, ...] = (0.5, 0.5)
    """One for each of `losses`."""
    separate_acceptance: bool = True
    """Half of the held-out logs choose the epoch, the other half accept it; off, all do both, as in the paper."""

    def work(self, known: Known) -> Work | None:
        limits = {"prompt_limit": self.max_prompt_tokens, "completion_limit": self.max_completion_tokens}
        return self.training(known, sequences=2, scorings=1, **limits)  # chosen and rejected

    @model_validator(mode="after")
    def _a_weight_each(self) -> Config:
        if len(self.losses) != len(self.loss_weights):
            raise ValueError(f"{len(self.losses)} losses and {len(self.loss_weights)} loss_weights: one for each")
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the adapter of every epoch, and experts.json with what each won."""
    from reasoning_pipeline.rollouts.adapted import AdaptedModel
    from reasoning_pipeline.training.adapters import Preference

    inputs = context.inputs
    ruled = {one.log.id: one for one in load_rules(inputs["rules"])}
    pairs = {row["id"]: row for row in read_rows(inputs["pairs"] / PAIRS_FILE)}
    grouping, gaps = Grouping.load(inputs["clusters"]), load_gaps(inputs.get("gap"))
    before = Before.of(inputs.get("before"), grouping)
    memory = Memory(context.work / "replies.jsonl")
    adapted = AdaptedModel(inputs["policy"], dtype=context.profile.precision, device=context.profile.device)
    policy = speaker(context, "policy", max_prompt_tokens=config.max_prompt_tokens, memory=memory, sampler=adapted)
    judge = judge_of(config, context, policy, config.split_seed)
    preference = Preference(losses=config.losses, weights=config.loss_weights, beta=config.beta)

    def row(name: str) -> dict[str, list[int]]:
        prompt, chosen = policy.ids(pairs[name]["prompt"], pairs[name]["chosen"])
        return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": policy.ids("", pairs[name]["rejected"])[1]}

    metrics = context.start_metrics(total_steps=grouping.count)
    output = context.fresh_output()
    experts, skipped, saved = [], {}, 0
    for cluster in range(grouping.count):
        context.stop_if_asked()
        members = grouping.members(cluster, pairs)
        if gaps.get(cluster, 0.0) > config.gap_threshold:
            skipped[str(cluster)], saved = "high gap", saved + len(members)
        elif len(members) < config.least_logs:
            skipped[str(cluster)] = f"{len(members)} pairs, fewer than {config.least_logs}"
        else:
            made = train(config, context, cluster, members, row, role="expert", before=before, preference=preference)
            selection, acceptance = made.held, made.held
            if config.separate_acceptance and len(made.held) > 1:
                selection, acceptance = split(made.held, config.split_seed, 0.5)
            wins = _wins(config, policy, judge, [ruled[name] for name in made.held], made.epochs)
            splits = {"selection": tuple(selection), "acceptance": tuple(acceptance)}
            experts.append(Expert(cluster=cluster, learned=tuple(made.learned), wins=wins, **splits))
            for epoch, adapter in made.epochs.items():
                shutil.copytree(adapter, output / f"cluster-{cluster}" / f"epoch-{epoch}")
        metrics.write(cluster + 1, experts=len(experts))
        print(f"cluster {cluster}: {skipped.get(str(cluster), 'trained')}")
    metrics.close()
    save_experts(output, experts)
    return StageOutcome(
        output,
        {
            "jobs": len(experts),
            "skipped": skipped,
            "pairs": len(pairs),
            "pairs_trained_on": sum(len(expert.learned or ()) for expert in experts),
            "saved_by_gap": saved / max(len(pairs), 1),
            "kept": [expert.cluster for expert in experts if expert.chosen() == INCUMBENT],
            "judge": PLAYED[config.judging.by],
            "seconds": round(metrics.seconds, 2),
        },
    )


def _wins(
    config: Config, policy: Speaker, judge: Judge, held: list[RuledLog], epochs: dict[int, Path]
) -> dict[int, dict[str, float | None]]:
    """Epoch -> log -> whether the adapter's answer to a held-out query won over the base's."""

    def answered(adapter: Path | None) -> tuple[list[str], list[float | None]]:
        questions = [one.log.question for one in held]
        texts = policy.answer(questions, config.decoding(config.split_seed), adapter=adapter)
        asked = zip(held, texts, strict=True)
        return texts, judge([(one.log.question, one.rules, text, one.log.language) for one, text in asked])

    plain, before = answered(None)
    found = {}
    for epoch, adapter in epochs.items():
        texts, scores = answered(adapter)
        names = [one.log.id for one in held]
        found[epoch] = dict(zip(names, map(win, scores, before, texts, plain), strict=True))
    return found
