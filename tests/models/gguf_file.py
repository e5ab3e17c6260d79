"""A GGUF file of a tiny Llama with a chat template, whose end token is wrong as in files from the wild."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

TOKENS = ["<unk>", "<|start|>", "<|end|>", *"abcdefgh0123456789", "Ġ", "Ċ", "ab", "cd"]
TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
WIDTH, LAYERS, HEADS, INNER = 32, 2, 4, 48


def write(path: Path, *, architecture: str = "llama", end: int = 1) -> Path:
    """The file; its tokenizer says that token `end` (<|start|>) ends an answer, its template writes <|end|>."""
    file = gguf.GGUFWriter(path, architecture)
    for add, value in (
        (file.add_context_length, 64), (file.add_embedding_length, WIDTH), (file.add_block_count, LAYERS),
        (file.add_feed_forward_length, INNER), (file.add_head_count, HEADS), (file.add_head_count_kv, HEADS),
        (file.add_layer_norm_rms_eps, 1e-5), (file.add_rope_freq_base, 10000.0), (file.add_vocab_size, len(TOKENS)),
        (file.add_tokenizer_model, "gpt2"), (file.add_tokenizer_pre, "default"), (file.add_token_list, TOKENS),
        (file.add_token_types, [3, 3, 3, *(1 for _ in TOKENS[3:])]), (file.add_token_merges, ["a b", "c d"]),
        (file.add_bos_token_id, 1), (file.add_eos_token_id, end), (file.add_unk_token_id, 0),
        (file.add_chat_template, TEMPLATE),
    ):  # fmt: skip
        add(value)  # type: ignore[operator]
    random = np.random.default_rng(0)

    def tensor(name: str, *shape: int) -> None:
        file.add_tensor(name, random.normal(size=shape).astype(np.float32))

    tensor("token_embd.weight", len(TOKENS), WIDTH)
    tensor("output_norm.weight", WIDTH)
    tensor("output.weight", len(TOKENS), WIDTH)
    for layer in range(LAYERS):
        for name, shape in (
            ("attn_norm", (WIDTH,)), ("ffn_norm", (WIDTH,)),
            *((f"attn_{kind}", (WIDTH, WIDTH)) for kind in ("q", "k", "v", "output")),
            ("ffn_gate", (INNER, WIDTH)), ("ffn_up", (INNER, WIDTH)), ("ffn_down", (WIDTH, INNER)),
        ):  # fmt: skip
            tensor(f"blk.{layer}.{name}.weight", *shape)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path
