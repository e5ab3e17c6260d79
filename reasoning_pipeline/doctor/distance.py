"""`python -m reasoning_pipeline.doctor.distance STUDENT TEACHER`: two divergences on a probe, as one line of JSON.

A process of its own, because it loads models. The teacher is compared with itself in another batch layout (rows padded
on the left), where it must say the same; then with the student, where it must not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROBE = ("What is 17 + 25?", "Solve $x^2 = 9$ for positive $x$.", "Name a prime.")
TOLERANCE = 1e-4
"""Nats a token; float32 on both sides, so what is left is the order of summation."""


def main(arguments: list[str]) -> int:
    from reasoning_pipeline.data.prompts import PromptRenderer
    from reasoning_pipeline.models.loading import load_model, pad_id

    student, teacher = map(Path, arguments)
    renderer = PromptRenderer.from_folder(teacher)
    rows = [renderer.tokenizer.encode(text, add_special_tokens=False).ids for text in PROBE]
    model = load_model(teacher).eval()
    alone, padded = _logprobs(model, rows, pad=None), _logprobs(model, rows, pad=pad_id(teacher))
    del model
    other = _logprobs(load_model(student).eval(), rows, pad=None)
    print(json.dumps({"teacher": _kl(padded, alone), "student": _kl(other, alone), "tolerance": TOLERANCE}))
    return 0


def _logprobs(model: Any, rows: list[list[int]], *, pad: int | None) -> list[Any]:
    """[L, V] of each row: one after the other, or as one batch padded on the left with `pad`."""
    import torch

    with torch.no_grad():
        if pad is None:
            return [model(torch.tensor([row])).logits[0].float().log_softmax(-1) for row in rows]
        longest = max(map(len, rows))
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = model(ids, attention_mask=mask, position_ids=positions).logits
        return [found[longest - len(row) :].float().log_softmax(-1) for found, row in zip(logits, rows, strict=True)]


def _kl(of: list[Any], to: list[Any]) -> float:
    """Mean over positions of KL(of || to), in nats."""
    total = sum(float((a.exp() * (a - b)).sum()) for a, b in zip(of, to, strict=True))
    return total / sum(len(a) for a in of)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
