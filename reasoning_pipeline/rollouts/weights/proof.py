"""What a push has to show before anything is generated from it.

Two looks at the same weights. The probe says whether the server computes with them; checksums of a block of every
tensor say whether it holds them, to the bit, which no tolerance for rounding can. Neither covers the other: a server
may hold new weights and multiply with an old copy; a missed optimizer step may move the probe by less than rounding.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import StaleWeights
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.weights.digests import (
    Block,
    Digest,
    as_dtype,
    checksum,
    chosen_blocks,
    first_difference,
    whole_blocks,
)
from reasoning_pipeline.rollouts.weights.gathering import TensorInfo, described
from reasoning_pipeline.rollouts.weights.naps import Naps
from reasoning_pipeline.rollouts.weights.probe import (
    BROKEN,
    DIFFERENCE,
    IMPROBABLE,
    STARTS,
    WRITTEN,
    Probe,
    probe_sequences,
    tolerance,
)
from reasoning_pipeline.rollouts.weights.transport import call_workers

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Proof:
    """One server's answers beside our own.

    Args:
        expected, found: Log-probabilities of the probe, ours and the server's; None where there is no probe.
        digests, held: Checksums, ours and the server's; None for a tensor that the server cannot show.
        usual: The difference of this trainer's first push, by which bfloat16 is judged; None before it.
    """

    precision: str
    expected: list[list[float]] | None
    found: list[list[float]] | None
    digests: Mapping[str, Digest]
    held: Mapping[str, Digest | None]
    usual: float | None = None

    @property
    def difference(self) -> float:
        """Of the probe, in nats: the largest in float32, the root mean square of probable tokens in bfloat16."""
        if self.expected is None or self.found is None:
            return 0.0
        return DIFFERENCE[self.precision](self.expected, self.found)

    @property
    def tolerance(self) -> float:
        return tolerance(self.precision, self.usual)

    @property
    def differing_tensor(self) -> str | None:
        return first_difference(self.digests, self.held)

    @property
    def holds(self) -> bool:
        return self.difference <= self.tolerance and self.differing_tensor is None

    @property
    def doubtful(self) -> bool:
        """Not as it should be, and no reason to end a run: the server holds every tensor to the bit, and rounding may
        still explain what the probe shows."""
        held = all(self.held.values()) and bool(self.held) and self.differing_tensor is None
        return self.precision != "float32" and held and self.tolerance < self.difference <= BROKEN


def check(proof: Proof, *, what: str) -> None:
    """Warns of what is doubtful. Raises StaleWeights, naming the difference and the first tensor that differs."""
    if proof.holds:
        return
    if proof.doubtful:
        print(
            f"warning: {what}: log-probabilities of the probe differ by {proof.difference:.3g} nats (root mean "
            f"square), {proof.tolerance:.3g} were expected in {proof.precision}; every tensor is equal to the bit, so "
            "this is taken for rounding. Where `sampler_mismatch` grows with it, report the versions of vLLM and "
            "transformers",
            file=sys.stderr,
            flush=True,
        )
        return
    tensor = proof.differing_tensor
    if tensor is not None:
        where = f"the first tensor that differs is {tensor}"
    elif any(proof.held.values()):
        where = "every tensor it holds is equal, so it computes with another copy of them"
    else:
        where = "it could show none of its tensors"
    raise StaleWeights(
        f"{what}: the server does not hold these weights: log-probabilities of the probe differ by up to "
        f"{proof.difference:.3g} nats, {proof.tolerance:.3g} are allowed in {proof.precision}; {where}",
        remedy="rollouts would come from another policy, so nothing was generated, and a full push did not help; "
        "restart the server, and if it happens again report vLLM's version with the server's log",
    )


def server_digests(server: RolloutClient, blocks: Mapping[str, Block]) -> dict[str, Digest | None]:
    """The server's checksums of these blocks, under checkpoint names.

    With tensor or pipeline parallelism several workers answer: what any of them holds whole is taken, and has to be
    the same on all that do; a tensor divided between them is None.
    """
    asked = {name: [block.shape, block.start, block.stop] for name, block in blocks.items()}
    found: dict[str, Digest | None] = dict.fromkeys(blocks)
    for answer in call_workers(server, "tensor_digests", asked):
        for name, pair in answer.items():
            digest = Digest(*pair) if pair is not None else None
            if found[name] is None:
                found[name] = digest
            elif digest is not None and digest != found[name]:
                found[name] = Digest(digest.dtype, "workers disagree")
    return found


class Sample:
    """The trainer's side of the checksums: blocks kept as the tensors pass by on their way out.

    Args:
        infos: The tensors, with the dtype that travels.
        turn: Counts pushes; each looks at the next block of every tensor.
        whole: Hash everything instead, to find the tensor that differs.
    """

    def __init__(self, infos: Sequence[TensorInfo], turn: int, *, whole: bool) -> None:
        shapes = {info.name: info.shape for info in infos}
        self.blocks = whole_blocks(shapes) if whole else chosen_blocks(shapes, turn)
        self._wire = {info.name: _kind(info.dtype) for info in infos}
        self._whole = whole
        self._kept: dict[str, tuple[str, Any]] = {}
        self._hashed: dict[str, Digest] = {}

    def take(self, name: str, tensor: torch.Tensor) -> None:
        """Look at a gathered tensor as the trainer keeps it: what is rounded on the way is to be noticed."""
        block = self.blocks[name]
        part = tensor.detach().reshape(-1)[block.start : block.stop].cpu().contiguous()
        kind = _kind(part.dtype)
        if kind == "bfloat16":
            import torch

            part = part.view(torch.int16)
        values = part.numpy().view("uint16") if kind == "bfloat16" else part.numpy()
        if self._whole:  # not kept: that would be the whole model once more
            wire = self._wire[name]
            self._hashed[name] = Digest(wire, checksum(as_dtype(values, kind, wire)))
        else:
            self._kept[name] = (kind, values.copy())

    def digests(self, held: Mapping[str, Digest | None]) -> dict[str, Digest]:
        """Ours, each in the dtype in which the server holds the tensor."""
        if self._whole:
            known = {name: theirs.dtype for name, theirs in held.items() if theirs is not None}
            return {name: mine for name, mine in self._hashed.items() if known.get(name) == mine.dtype}
        return {
            name: Digest(theirs.dtype, checksum(as_dtype(self._kept[name][1], self._kept[name][0], theirs.dtype)))
            for name, theirs in held.items()
            if theirs is not None
        }


@dataclass(frozen=True)
class Answer:
    """What one server says after a push."""

    loaded: float
    """When it had finished loading (time.monotonic)."""
    scores: list[list[float]]
    held: dict[str, Digest | None] = field(default_factory=dict)


def ask(server: RolloutClient, done: Future[None], sample: Sample, sequences: list[list[int]], naps: Naps) -> Answer:
    """Wait until the server has loaded, wake its cache, then have it score the probe and hash its blocks."""
    done.result()
    loaded = time.monotonic()
    naps.wake_cache(server)
    return Answer(loaded, server.score(sequences), server_digests(server, sample.blocks))


def local_probe(model: torch.nn.Module, accelerator: Any, sequences: list[list[int]] | None = None) -> Probe:
    """Score the probe with the trainer's own weights. Collective: a sharded forward pass needs every rank.

    Args:
        sequences: What to score; this model's own probe where it is not given.
    """
    import torch

    if sequences is None:
        precision = "bfloat16" if getattr(accelerator, "mixed_precision", "no") == "bf16" else "float32"
        sequences = sequences_for(model, accelerator, precision)
    input_ids = torch.tensor(sequences, device=accelerator.device)
    logprobs_BTV = _logprobs(model, input_ids)[:, :-1]
    return Probe(sequences, logprobs_BTV.gather(-1, input_ids[:, 1:, None]).squeeze(-1).cpu().tolist())


def sequences_for(model: torch.nn.Module, accelerator: Any, precision: str) -> list[list[int]]:
    """The probe of this trainer's model, by its vocabulary and size; in bfloat16 it writes it itself. Collective."""
    import torch

    unwrapped = accelerator.unwrap_model(model)
    vocabulary = unwrapped.config.get_text_config().vocab_size
    if precision == "float32":
        return probe_sequences(vocabulary, sum(info.elements for info in described(unwrapped)))
    draw, generator = random.Random(f"probe/{vocabulary}"), torch.Generator().manual_seed(0)
    starts = [[draw.randrange(vocabulary) for _ in range(2)] for _ in range(STARTS)]
    ids_BT = torch.tensor(starts, device=accelerator.device)
    for _ in range(WRITTEN):
        logprobs_BV = _logprobs(model, ids_BT)[:, -1].cpu()
        least_B = logprobs_BV.amax(-1, keepdim=True).clamp(max=IMPROBABLE)
        probable_BV = logprobs_BV.masked_fill(logprobs_BV < least_B, -torch.inf)
        words_B = torch.multinomial(probable_BV.softmax(-1), 1, generator=generator)
        ids_BT = torch.cat([ids_BT, words_B.to(ids_BT.device)], dim=1)
    return ids_BT.tolist()


def _logprobs(model: torch.nn.Module, ids_BT: torch.Tensor) -> torch.Tensor:
    """[B, T, V] in float32."""
    import torch

    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), use_cache=False).logits
    model.train(was_training)
    return logits.float().log_softmax(-1)


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
