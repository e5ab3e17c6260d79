"""Critics: one low-rank adapter a cluster that foresees what its users will say of a draft.

Supervised fine-tuning of (query, logged answer) -> rules, through TRL's SFTTrainer; the epoch with the lowest loss on
the held-out logs is kept. The model that revises the draft is the untouched base. With `experts` given, only clusters
whose expert was refused or never trained get a critic; without, all do, as in the released code. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/train_critics.yaml
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.recipe.stage import Input
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.speaking import speaker
from reasoning_pipeline.workflows.user_logs import prompts
from reasoning_pipeline.workflows.user_logs.choice import WIN_RATE
from reasoning_pipeline.workflows.user_logs.clusters import Grouping
from reasoning_pipeline.workflows.user_logs.gap import load_gaps
from reasoning_pipeline.workflows.user_logs.online import INCUMBENT, Before, clearly_better, parted
from reasoning_pipeline.workflows.user_logs.rules import load_rules
from reasoning_pipeline.workflows.user_logs.settings import AdapterTraining, OfClusters
from reasoning_pipeline.workflows.user_logs.validation import CRITICS_FILE, decisions, load_experts


class Config(OfClusters, AdapterTraining):
    publishes: ClassVar[str] = "critics"
    heavy: ClassVar[bool] = False

    stage: Literal["train_critics"] = "train_critics"
    experts: Annotated[str | None, Input("experts")] = None
    """Experts with what their epochs won."""
    accept: float = Field(WIN_RATE, ge=0, le=1)
    """An expert is accepted that won strictly more than this share."""
    max_length: int = Field(8_000, ge=16)

    def work(self, known: Known) -> Work | None:
        rules = known.made_by("rules")
        if rules is None:
            return None
        return Work(
            rows=self.rows_per_step,
            steps=(self.epochs or 1) * self.train_share * (rules.rows // 2) / self.rows_per_step,
            prompt_limit=self.max_length // 2,
            completion_limit=self.max_length // 2,
            trains=True,
            batch="rows_per_step",
            lora=self.lora,
        )


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the chosen adapter of each cluster that needs one, and critics.json with the losses."""
    from reasoning_pipeline.rollouts.adapted import AdaptedModel
    from reasoning_pipeline.training.adapters import train_adapter

    ruled = {one.log.id: one for one in load_rules(context.inputs["rules"]) if one.rules}
    grouping = Grouping.load(context.inputs["clusters"])
    needed = set(range(grouping.count))
    if config.experts is not None:
        made = decisions(
            grouping.count,
            load_gaps(context.inputs.get("gap")),
            load_experts(context.inputs["experts"]),
            gap_threshold=config.gap_threshold,
            accept=config.accept,
        )
        needed = {decision.cluster for decision in made if decision.path == "reflective"}
    adapted = AdaptedModel(context.inputs["policy"], dtype=context.profile.precision, device=context.profile.device)
    model = speaker(context, "policy", max_prompt_tokens=config.max_length, sampler=adapted)
    asked = {
        name: model.ids(
            prompts.critic(one.log.question, one.log.answer, one.log.language),
            prompts.advice(one.rules, one.log.language),
        )
        for name, one in ruled.items()
    }
    metrics = context.start_metrics(total_steps=len(needed))
    found: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    before = Before.of(context.inputs.get("before"), grouping)
    taken: dict[str, Path] = {}
    for done, cluster in enumerate(sorted(needed), start=1):
        context.stop_if_asked()
        members = grouping.members(cluster, ruled)
        if len(members) < config.least_logs:
            skipped[str(cluster)] = f"{len(members)} logs, fewer than {config.least_logs}"
            continue
        learned = before.learned if before is not None else ()
        train, held = parted(members, learned, config.split_seed, config.train_share)
        epochs = train_adapter(
            config,
            context,
            [{"prompt_ids": asked[name][0], "completion_ids": asked[name][1]} for name in train],
            context.work / "adapters" / f"cluster-{cluster}",
            base=context.inputs["policy"].name,
            rows_per_step=config.rows_per_step,
            max_length=config.max_length,
        )
        judged: Any = model.sampler
        unseen = [asked[name] for name in held]
        losses = {epoch: judged.loss(unseen, adapter=adapter) for epoch, adapter in epochs.items()}
        best = min(losses, key=lambda epoch: losses[epoch])
        incumbent = before.adapter("critic", cluster) if before is not None else None
        if incumbent is not None:
            losses[INCUMBENT] = judged.loss(unseen, adapter=incumbent)
            if not clearly_better(losses[best], losses[INCUMBENT]):
                best = INCUMBENT
                taken[str(cluster)] = incumbent
        found[str(cluster)] = {
            "epoch": best,
            "losses": {str(epoch): round(loss, 6) for epoch, loss in losses.items()},
            "base_loss": round(judged.loss(unseen), 6),
            "learned": train,
            "held_out": len(held),
        }
        metrics.write(done, loss=losses[best])
        print(f"cluster {cluster}: epoch {best}, held-out loss {losses[best]:.3f}")
    metrics.close()
    output = context.fresh_output()
    for cluster_name, entry in found.items():
        place = context.work / "adapters" / f"cluster-{cluster_name}" / f"epoch-{entry['epoch']}"
        shutil.copytree(taken.get(cluster_name, place), output / f"cluster-{cluster_name}")
    write_json(output / CRITICS_FILE, found)
    return StageOutcome(
        output,
        {
            "jobs": len(found),
            "skipped": skipped,
            "kept": [int(cluster) for cluster in taken],
            "critics": {name: {**entry, "learned": len(entry["learned"])} for name, entry in found.items()},
            "seconds": round(metrics.seconds, 2),
        },
    )
