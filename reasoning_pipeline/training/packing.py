"""Rows laid end to end in one sequence, each with positions of its own, and attention that never leaves a row.

No token is padding: all layers but attention see one long sequence, and attention goes row by row. It enters
transformers by its own door (`AttentionInterface`), switched on for the passes of an optimizer step alone, so that
generation and scoring elsewhere stay what they are. Three ways, by what there is:

- a model loaded with one of transformers' flash kernels keeps it and is told where rows begin (`cu_seq_lens_q`, …);
- on GPUs in half precision PyTorch's own kernel for rows of unequal length (`torch.nn.attention.varlen`);
- elsewhere PyTorch's causal kernel, once for each run of rows of equal length.

A block-diagonal mask would cost the square of the whole sequence, and forward passes of single rows the overhead of
each layer for each row.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.training.batches import IGNORED

ROWS_APART = "rows_apart"
"""The name under which transformers finds our attention."""

_thread = threading.local()
"""Whether this thread is in passes: configurations are shared by threads, passes are not."""


class RowLengths:
    """Where rows begin and end, as attention is told; counts the layers that asked.

    No dataclass: FSDP2 copies those that it finds among a layer's inputs, and the count would be the copy's.
    """

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self.lengths, self.layers = lengths, 0

    @property
    def runs(self) -> list[tuple[int, int]]:
        """(rows, their length) of each run of neighbours of equal length."""
        return [(len(list(run)), length) for length, run in groupby(self.lengths)]


@dataclass(frozen=True)
class PackedRows:
    """One pass of one process. L tokens, N of them completion tokens."""

    input_ids: torch.Tensor
    """[1, L]."""
    position_ids: torch.Tensor
    """[1, L]; begins at 0 in each row."""
    predicts_N: torch.Tensor
    """Positions whose next token is a completion's."""
    next_N: torch.Tensor
    """Those tokens."""
    rows: RowLengths
    attention: dict[str, Any] = field(repr=False)
    """More for the model's forward pass: what its attention needs to keep rows apart."""

    @property
    def shift_labels(self) -> torch.Tensor:
        """[1, L]: at each position the token to be predicted there, IGNORED where that is not a completion's."""
        labels = torch.full_like(self.input_ids, IGNORED)
        labels[0, self.predicts_N] = self.next_N
        return labels


def pack(rows: Sequence[tuple[Sequence[int], Sequence[int]]], device: torch.device | str) -> PackedRows:
    """Each row is (prompt ids, completion ids); the prompt has at least one token, which predicts the first."""
    ids, positions, predicts, following, lengths = [], [], [], [], []  # type: ignore[var-annotated]
    for prompt, completion in rows:
        if not len(prompt):
            raise ValueError("a row without a prompt: nothing predicts its first token")
        start, length = len(ids), len(prompt) + len(completion)
        ids += [*prompt, *completion]
        positions += range(length)
        predicts += range(start + len(prompt) - 1, start + length - 1)
        following += completion
        lengths.append(length)
    told = RowLengths(tuple(lengths))
    ends = torch.tensor([0, *lengths]).cumsum(0).to(device=device, dtype=torch.int32)
    longest = max(lengths)
    return PackedRows(
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        predicts_N=torch.tensor(predicts, dtype=torch.long, device=device),
        next_N=torch.tensor(following, dtype=torch.long, device=device),
        rows=told,
        attention={
            "rows_apart": told,
            "cu_seq_lens_q": ends,
            "cu_seq_lens_k": ends,
            "max_length_q": longest,
            "max_length_k": longest,
        },
    )


def hidden_states(model: Any, packed: PackedRows, *, backbone: Any = None) -> torch.Tensor:
    """[N, H] before the head, where completion tokens are predicted. Within `keeping_rows_apart(model)`.

    Args:
        backbone: Called instead of the model's own, where a division wants to know of the pass.
    """
    plain = _plain(model)
    hidden = (backbone or plain.base_model)(
        input_ids=packed.input_ids, position_ids=packed.position_ids, use_cache=False, **packed.attention
    ).last_hidden_state
    check_kept_apart(model, packed)
    at_N: torch.Tensor = hidden[0].index_select(0, packed.predicts_N)
    return at_N


def in_passes() -> bool:
    """Whether this thread is within `keeping_rows_apart`: its hidden states are those of completion tokens alone."""
    return getattr(_thread, "in_passes", False)


@contextmanager
def keeping_rows_apart(*models: Any) -> Iterator[None]:
    """Within it, backward passes included, these models' attention stays within rows.

    Raises PipelineError for a model whose attention, or whatever else mixes tokens, cannot.
    """
    configs = list({id(c): c for c in (_plain(model).config for model in models)}.values())
    before = [config._attn_implementation for config in configs]
    for config, now in zip(configs, before, strict=True):
        _refuse_what_mixes(config, now)
    try:
        for config, now in zip(configs, before, strict=True):
            if now == "sdpa":
                config._attn_implementation = ROWS_APART
        _thread.in_passes = True
        yield
    finally:
        _thread.in_passes = False
        for config, now in zip(configs, before, strict=True):
            config._attn_implementation = now


def check_kept_apart(model: Any, packed: PackedRows) -> None:
    """After a pass: did every layer attend through us? Raises PipelineError where rows have seen each other."""
    config = _plain(model).config
    layers = config.get_text_config().num_hidden_layers
    if config._attn_implementation == ROWS_APART and packed.rows.layers < layers:
        raise PipelineError(
            f"{type(_plain(model)).__name__} keeps rows apart in {packed.rows.layers} of its {layers} layers: "
            "attention of its own does not ask transformers for an implementation",
            remedy="use a model whose attention does (Llama, Qwen, Mistral, …): rows are trained end to end",
        )


def _refuse_what_mixes(config: Any, implementation: str | None) -> None:
    name = config.model_type
    if implementation not in ("sdpa", ROWS_APART) and not (implementation or "").startswith("flash_attention"):
        raise PipelineError(
            f"the attention implementation {implementation!r} of this {name} cannot keep rows apart that lie "
            "end to end",
            remedy="load it with sdpa or one of the flash implementations",
        )
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        raise PipelineError(
            f"layers of kind {', '.join(sorted(kinds))} of this {name} carry state from one row into the next",
            remedy="use a model with attention in all layers",
        )


def _plain(model: Any) -> Any:
    """Without its adapters' wrapping."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _attention_within_rows(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    rows_apart: RowLengths | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int = 0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """In transformers' terms: [1, heads, L, width] each -> [1, L, heads, width]."""
    if rows_apart is None:  # another thread's: a copy of the model that shares its configuration writes rollouts
        more = {"dropout": dropout, "scaling": scaling}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **more)  # type: ignore[arg-type]
    rows_apart.layers += 1
    window = sliding_window if sliding_window is not None and sliding_window < max_length_q else None
    if query.is_cuda and (half := _half(query)) is not None:
        from torch.nn.attention.varlen import varlen_attn

        queries, keys, values = (part[0].transpose(0, 1).to(half) for part in (query, key, value))
        assert cu_seq_lens_q is not None
        within: Any = varlen_attn(
            queries,
            keys,
            values,
            cu_seq_lens_q,
            cu_seq_lens_q,
            max_length_q,
            max_length_q,
            scale=scaling,
            window_size=(-1 if window is None else window - 1, 0),
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return within.unsqueeze(0), None
    runs = rows_apart.runs
    sizes = [rows * length for rows, length in runs]
    split = (part.split(sizes, dim=2) for part in (query, key, value))
    found = []
    for (rows, length), *parts in zip(runs, *split, strict=True):
        queries, keys, values = (part[0].unflatten(1, (rows, length)).transpose(0, 1) for part in parts)
        mask = _band(length, window, query.device) if window is not None else None
        within, _nothing = sdpa_attention_forward(
            module, queries, keys, values, mask, dropout=dropout, scaling=scaling, is_causal=True
        )  # [rows, length, heads, width]
        found.append(within.flatten(0, 1))
    return torch.cat(found).unsqueeze(0), None


def _half(query: torch.Tensor) -> torch.dtype | None:
    """The precision in which a flash kernel would compute; None where the products are in float32."""
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
    return dtype if dtype in (torch.bfloat16, torch.float16) else None


def _band(length: int, window: int, device: torch.device) -> torch.Tensor:
    """[length, length]: each token sees itself and the `window` - 1 before it."""
    at = torch.arange(length, device=device)
    ago = at[:, None] - at[None, :]
    return (ago >= 0) & (ago < window)


def _mask(*given: Any, **options: Any) -> torch.Tensor | None:
    """None in passes, which know where rows begin; elsewhere what sdpa would be given."""
    return None if in_passes() else sdpa_mask(*given, **options)


AttentionInterface.register(ROWS_APART, _attention_within_rows)
AttentionMaskInterface.register(ROWS_APART, _mask)
