"""`python -m benchmarks.proof MODEL`: how often a push in bfloat16 is doubted wrongly, and which faults are found.

    MODEL                 a folder with a trained model (random weights have no probable text)
    --pushes 100          pushes of changed weights, each proved as in a run; every fifth moves ten times as far
    --minutes 10          no more of them after that
    --hardware PROFILE    its server and transport; in bfloat16 whatever it says
    --without-server      a second implementation in the server's place: weights held in bfloat16, attention written
                          out, a sequence at a time, where the trainer's passes round as they go and fuse

Each push moves all weights a little, as optimizer steps do. Prints the rates of the rule (root mean square of probable
tokens against the first push) and of a simpler one (the largest of five random tokens, 0.25 nats), and what faults that
no checksum sees do to the number: the trainer computes with weights that were never gathered.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.shared import where


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pushes", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--hardware", default="cpu")
    parser.add_argument("--without-server", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    from accelerate import Accelerator

    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.models.loading import load_model
    from reasoning_pipeline.rollouts.servers.process import RolloutServer
    from reasoning_pipeline.rollouts.weights.push import WeightPush

    profile = load_profile(arguments.hardware).model_copy(update={"precision": "bfloat16"})
    print(f"{where()}, {profile.name} in bfloat16, {arguments.model.name}, {arguments.pushes} pushes", flush=True)
    if arguments.without_server:
        accelerator = Accelerator(cpu=profile.device == "cpu", mixed_precision="bf16")
        model = accelerator.prepare_model(load_model(arguments.model).to(accelerator.device))
        beside = Beside(model, accelerator, arguments.model)
        sound(beside, model, arguments.pushes, arguments.minutes)
        faults(beside, model)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.model.resolve()
        server = RolloutServer(folder, profile, Path(temporary) / "log", readable=(folder,), max_model_len=64)
        try:
            server.start()
            server.wait_ready()
            accelerator = Accelerator(cpu=profile.device == "cpu", mixed_precision="bf16")
            model = accelerator.prepare_model(load_model(folder).to(accelerator.device))
            push = WeightPush(
                server.client, accelerator, server.transfer_folder, "bfloat16", transport=profile.server.transport
            )
            sound(push, model, arguments.pushes, arguments.minutes)
            faults(push, model)
        finally:
            server.stop()
    return 0


class Beside:
    """What `sound` and `faults` ask of a WeightPush and its server, answered by a copy in this process."""

    def __init__(self, model: Any, accelerator: Any, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        from reasoning_pipeline.rollouts.weights.proof import sequences_for

        self.accelerator, self.full_pushes, self.difference = accelerator, 0, 0.0
        self.copy = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, attn_implementation="eager", local_files_only=True
        ).eval()
        self.copy.to(accelerator.device)
        self._sequences = sequences_for(model, accelerator, "bfloat16")
        self._usual: float | None = None
        self.client = SimpleNamespace(servers=[self])

    def push(self, model: Any, version: str) -> None:
        from reasoning_pipeline.rollouts.weights.probe import typical_difference
        from reasoning_pipeline.rollouts.weights.proof import local_probe

        self.copy.load_state_dict(self.accelerator.unwrap_model(model).state_dict())  # rounds to bfloat16
        ours = local_probe(model, self.accelerator, self._sequences)
        self.difference = typical_difference(ours.logprobs, self.score(self._sequences))
        self._usual = self.difference if self._usual is None else self._usual

    def score(self, sequences: list[list[int]]) -> list[list[float]]:
        import torch

        scores = []
        with torch.no_grad():
            for row in sequences:
                ids_BT = torch.tensor([row], device=self.accelerator.device)
                logprobs_TV = self.copy(ids_BT).logits[0, :-1].float().log_softmax(-1)
                scores.append(logprobs_TV.gather(-1, ids_BT[0, 1:, None]).squeeze(-1).tolist())
        return scores


def sound(push: Any, model: Any, pushes: int, minutes: float) -> None:
    """Pushes that are as they should be, so many or as many as there is time for."""
    from reasoning_pipeline.rollouts.weights.probe import largest_difference, tolerance
    from reasoning_pipeline.rollouts.weights.proof import local_probe

    vocabulary = push.accelerator.unwrap_model(model).config.get_text_config().vocab_size
    typical, largest, doubted, simple = [], [], 0, 0
    first: float | None = None
    until = time.monotonic() + 60 * minutes
    for number in range(pushes):
        if time.monotonic() > until:
            break
        moved(push.accelerator.unwrap_model(model), number, 3e-3 if number % 5 == 4 else 3e-4)
        push.push(model, f"bench:{number}")
        typical.append(push.difference)
        doubted += push.difference > tolerance("bfloat16", first)
        first = push.difference if first is None else first
        draw = random.Random(number)
        tokens = [[draw.randrange(vocabulary) for _ in range(6)]]
        ours, theirs = local_probe(model, push.accelerator, tokens).logprobs, push.client.servers[0].score(tokens)
        largest.append(largest_difference(ours, theirs))
        simple += largest[-1] > 0.25
    pushes = len(typical)
    spread = f"first {typical[0]:.4f}, median {sorted(typical)[pushes // 2]:.4f}, largest {max(typical):.4f} nats"
    print(f"root mean square of probable tokens: {spread}; doubted {doubted} of {pushes}; full {push.full_pushes}")
    spread = f"median {sorted(largest)[pushes // 2]:.4f}, largest {max(largest):.4f} nats"
    print(f"largest of five random tokens: {spread}; over 0.25: {simple} of {pushes}", flush=True)


def moved(model: Any, seed: int, share: float) -> None:
    """Every weight by a random share of its tensor's spread."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.device)
            spread = parameter.std() if parameter.numel() > 1 else 0.0
            parameter.add_(share * spread * noise)


def faults(push: Any, model: Any) -> None:
    """The server keeps what it holds; the trainer computes with something else, so that only the number can tell."""
    from reasoning_pipeline.rollouts.weights.probe import BROKEN, tolerance, typical_difference
    from reasoning_pipeline.rollouts.weights.proof import local_probe

    plain = push.accelerator.unwrap_model(model)
    allowed = tolerance("bfloat16", push._usual)
    kept = copy.deepcopy(plain.state_dict())
    for name, change in FAULTS.items():
        undo = change(plain)
        probe = local_probe(model, push.accelerator, push._sequences)
        found = typical_difference(probe.logprobs, push.client.servers[0].score(probe.sequences))
        says = "ends the run" if found > BROKEN else "warned of" if found > allowed else "NOT FOUND by the number"
        print(f"{name}: {found:.4f} nats, allowed {allowed:.4f}: {says}", flush=True)
        plain.load_state_dict(kept)
        undo()


def _layer(model: Any) -> Any:
    layers = model.model.layers
    return layers[len(layers) // 2]


def _nothing() -> None: ...


def stale(share: float) -> Callable[[Any], Callable[[], None]]:
    """One layer's down projection as it was before it moved by this share of its spread."""

    def change(model: Any) -> Callable[[], None]:
        moved(_layer(model).mlp.down_proj, 5, share)
        return _nothing

    return change


def swapped(model: Any) -> Callable[[], None]:
    import torch

    one, other = (model.model.layers[at].self_attn.o_proj.weight for at in (0, 1))
    with torch.no_grad():
        kept = one.clone()
        one.copy_(other)
        other.copy_(kept)
    return _nothing


def rotary(factor: float) -> Callable[[Any], Callable[[], None]]:
    """Position frequencies of another base."""

    def change(model: Any) -> Callable[[], None]:
        rotary_embedding = model.model.rotary_emb
        kept = rotary_embedding.inv_freq.clone()
        rotary_embedding.inv_freq.mul_(factor)

        def undo() -> None:
            rotary_embedding.inv_freq.copy_(kept)

        return undo

    return change


FAULTS: dict[str, Callable[[Any], Callable[[], None]]] = {
    "one layer stale, its weights moved by 1 % since": stale(0.01),
    "one layer stale, its weights moved by 10 % since": stale(0.1),
    "one layer stale, its weights moved by as much as they spread": stale(1.0),
    "two layers' output projections swapped": swapped,
    "rotary frequencies twice too high": rotary(2.0),
    "rotary frequencies 10 % too high": rotary(1.1),
}


if __name__ == "__main__":
    sys.exit(main())
