"""Critics: one low-rank adapter a cluster that foresees what its users will say of a draft.

Supervised fine-tuning of (query, logged answer) -> rules, through TRL's SFTTrainer; the epoch with the lowest loss on
the held-out logs is kept. The model that revises the draft is the untouched base. With `experts` given, only clusters
whose expert was refused or never trained get a critic; without, all do, as in the released code. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/train_critics.yaml
"""

from __future__ import annotations

import shutil
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.recipe.stage import Input
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.speaking import speaker
from reasoning_pipeline.workflows.user_logs import prompts
from reasoning_pipeline.workflows.user_logs.adapters import train
from reasoning_pipeline.workflows.user_logs.choice import CRITICS_FILE, decisions, load_experts
from reasoning_pipeline.workflows.user_logs.clusters import Grouping
from reasoning_pipeline.workflows.user_logs.gap import load_gaps
from reasoning_pipeline.workflows.user_logs.online import INCUMBENT, Before, clearly_better
from reasoning_pipeline.workflows.user_logs.rules import load_rules
from reasoning_pipeline.workflows.user_logs.settings import WIN_RATE, AdapterTraining


class Config(AdapterTraining):
    publishes: ClassVar[str] = "critics"

    stage: Literal["train_critics"] = "train_critics"
    experts: Annotated[str | None, Input("experts")] = None
    """Experts with what their epochs won."""
    accept: float = Field(WIN_RATE, ge=0, le=1)
    """An expert is accepted that won strictly more than this share."""
    max_length: int = Field(8_000, ge=16)

    def work(self, known: Known) -> Work | None:
        return self.training(known, prompt_limit=self.max_length // 2, completion_limit=self.max_length // 2)


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the chosen adapter of each cluster that needs one, and critics.json with the losses."""
    from reasoning_pipeline.rollouts.adapted import AdaptedModel

    inputs = context.inputs
    ruled = {one.log.id: one for one in load_rules(inputs["rules"]) if one.rules}
    grouping = Grouping.load(inputs["clusters"])
    before = Before.of(inputs.get("before"), grouping)
    needed = list(range(grouping.count))
    if config.experts is not None:
        experts, gaps = load_experts(inputs["experts"]), load_gaps(inputs.get("gap"))
        decided = decisions(grouping.count, gaps, experts, gap_threshold=config.gap_threshold, accept=config.accept)
        needed = [decision.cluster for decision in decided if decision.path == "reflective"]
    model = AdaptedModel(inputs["policy"], dtype=context.profile.precision, device=context.profile.device)
    policy = speaker(context, "policy", max_prompt_tokens=config.max_length, sampler=model)

    def row(name: str) -> dict[str, list[int]]:
        log, rules = ruled[name].log, ruled[name].rules
        asked = prompts.critic(log.question, log.answer, log.language)
        prompt, completion = policy.ids(asked, prompts.advice(rules, log.language))
        return {"prompt_ids": prompt, "completion_ids": completion}

    metrics = context.start_metrics(total_steps=len(needed))
    output = context.fresh_output()
    found: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    for done, cluster in enumerate(needed, start=1):
        context.stop_if_asked()
        members = grouping.members(cluster, ruled)
        if len(members) < config.least_logs:
            skipped[str(cluster)] = f"{len(members)} logs, fewer than {config.least_logs}"
            continue
        made = train(config, context, cluster, members, row, role="critic", before=before)
        unseen = [(one["prompt_ids"], one["completion_ids"]) for one in map(row, made.held)]
        losses = {epoch: model.loss(unseen, adapter=adapter) for epoch, adapter in made.epochs.items()}
        best = min((epoch for epoch in losses if epoch != INCUMBENT), key=lambda epoch: losses[epoch])
        if INCUMBENT in losses and not clearly_better(losses[best], losses[INCUMBENT]):
            best = INCUMBENT
        shutil.copytree(made.epochs[best], output / f"cluster-{cluster}")
        found[str(cluster)] = {
            "epoch": best,
            "losses": {str(epoch): round(loss, 6) for epoch, loss in losses.items()},
            "base_loss": round(model.loss(unseen), 6),
            "learned": made.learned,
            "held_out": len(made.held),
        }
        metrics.write(done, loss=losses[best])
        print(f"cluster {cluster}: epoch {best}, held-out loss {losses[best]:.3f}")
    metrics.close()
    write_json(output / CRITICS_FILE, found)
    return StageOutcome(
        output,
        {
            "jobs": len(found),
            "skipped": skipped,
            "kept": [int(cluster) for cluster, entry in found.items() if entry["epoch"] == INCUMBENT],
            "critics": {name: {**entry, "learned": len(entry["learned"])} for name, entry in found.items()},
            "seconds": round(metrics.seconds, 2),
        },
    )
