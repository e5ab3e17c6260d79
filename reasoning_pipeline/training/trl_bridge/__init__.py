"""The one folder that knows TRL's insides (1.16). Everything of TRL is imported through it; tests fail when TRL moves.

    trainer.py       what all of its trainers get: models divided as the launch says, passes of our own, small tiles
    supervised.py    rows that are there: hard labels, pairs
    policy.py        GRPO
    distillation.py  either divergence, the teacher's weights in the trainer
    scored.py        the same against a teacher that is asked for its scores
    generating.py    our engine in the place of vLLM's, our prompts in the place of TRL's

What it relies on, beyond the public API:
- both trainers generate through `vllm_generation.sync_weights()` and `.generate(...)` when `use_vllm` is true, and
  sync when `state.global_step != _last_loaded_step`; our engine stands in that place;
- they ask for one batch per optimizer step, of consecutive rows, each process its share (batches.py);
- `_tokenize_prompts` turns the `prompt` column into ids; ours renders nothing, the prompts come rendered;
- `DistillationTrainer._generate_single_turn` returns completion ids; for cached rollouts it returns those;
- a trainer asks `training_step` for one batch at a time; with one a step, its passes are ours (in_passes.py), and each
  pass is handed to TRL's own loss: `_own_rows` has the batch generated and scored, `_loss_inputs` is what TRL's
  `_compute_loss` reads of a pass;
- GRPO's `_compute_loss` asks `_get_per_token_logps_and_entropies` for log-probabilities [B, T] before it reads
  `importance_sampling_ratio` and takes its own, detached, for the old ones; it divides by
  `current_gradient_accumulation_steps`. Before, `_generate_and_score_completions` scores a policy only for the
  sampler's correction, and a start only where `beta` is not 0;
- distillation's `_compute_loss` asks `_get_last_hidden_state` of either model for hidden states [B, T, H] and reads
  `completion_mask`: one long row [1, N] serves as well as a padded batch;
- `model(shift_labels=…, fused_lm_head=True)` scores the labels given, and projects no other position where the
  `_use_triton` of its module says so; the sizes of tiles are attributes of modules;
- `_metrics["train"]` holds a list for each name until the next log;
- with a teacher that is not in the trainer, batch and `_compute_loss` carry and use its scores; `teacher_model` may be
  None;
- with the teacher in the trainer, `_compute_loss` asks `distillation_trainer.ChunkedDivergenceFunction` for each
  token's divergence, from the two models' hidden states and heads: `top_k_overlap` is taken from the same;
- `DPOTrainer` turns its rows into `prompt_ids`, `chosen_ids` and `rejected_ids` in `_prepare_dataset`; ours come so;
- the distillation trainer leaves its teacher where it was loaded, as `teacher_model`, when its __init__ ends; GRPO's
  makes the start of the KL penalty by `grpo_trainer.create_model_from_path` and divides it by
  `grpo_trainer.prepare_fsdp`: both go the way of our models (sharding.py).
"""

from __future__ import annotations

import trl.import_utils as trl_imports

# The trainer process never talks to vLLM's Python side; importing it there would cost seconds and gigabytes. Before
# anything else of TRL is imported, which is why it stands here.
trl_imports.is_vllm_available = lambda *args, **kwargs: False
