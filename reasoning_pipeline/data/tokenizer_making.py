"""Tokenizers made here, for worlds without a hub: characters for arithmetic, BPE for real text.

Saved as a Hugging Face fast tokenizer with a chat template, so that transformers and vLLM load them as any other.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.data.arithmetic import DEFAULT, LONGEST_EXPRESSION, ArithmeticWorld

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (PAD, START, END)

ARITHMETIC_TEMPLATE = (
    "{{- '" + START + "' }}{{- '%-" + str(LONGEST_EXPRESSION) + "s' | format(messages[-1]['content']) }}{{- '\\n' }}"
)
"""Every prompt has the same length: no padding between rows, and each operation keeps its distance to its step."""


def arithmetic_template(world: ArithmeticWorld) -> str:
    """The same, as long as the longest question of this world."""
    return ARITHMETIC_TEMPLATE.replace(f"%-{LONGEST_EXPRESSION}s", f"%-{world.longest_expression}s")


CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '" + START + "' + message['role'] + '\\n' + message['content'] + '" + END + "' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '" + START + "assistant\\n' }}{%- endif %}"
)
"""ChatML, as Qwen writes it."""


CHARACTERS = (*SPECIAL, "\n", *(chr(code) for code in range(32, 127)))
"""Printable ASCII, newline and three special tokens."""

SETTINGS = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "eos_token": END,
    "pad_token": PAD,
    "model_max_length": 1_000_000,
    "clean_up_tokenization_spaces": False,
    "padding_side": "left",
}


def tokenizer_identity(*, characters: bool, world: ArithmeticWorld = DEFAULT) -> dict[str, str]:
    """Digests of what this file decides about a tokenizer; what texts decide about it is the data set's identity."""
    made_of = ["characters", *CHARACTERS] if characters else ["byte-level BPE", *SPECIAL]
    template = arithmetic_template(world) if characters else CHAT_TEMPLATE
    return {"tokenizer": digest([made_of, SETTINGS]), "chat_template": digest(template)}


def save_character_tokenizer(folder: Path, world: ArithmeticWorld = DEFAULT) -> int:
    """One token a character; returns the number of tokens (99)."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    assert len(set(CHARACTERS)) == len(CHARACTERS) and set(string.digits) <= set(CHARACTERS)
    tokenizer = Tokenizer(models.WordLevel({c: i for i, c in enumerate(CHARACTERS)}, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return _save(tokenizer, folder, arithmetic_template(world))


def save_bpe_tokenizer(folder: Path, texts: Iterable[str], vocabulary_size: int) -> int:
    """Byte-level BPE learned from `texts`; returns the number of tokens (at most `vocabulary_size`)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _save(tokenizer, folder, CHAT_TEMPLATE)


def save_word_tokenizer(folder: Path, words: Sequence[str]) -> int:
    """One token a word, apart by blanks; returns the number of tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = dict.fromkeys([*SPECIAL, "user", "assistant", *words])
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(known)}, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _save(tokenizer, folder, CHAT_TEMPLATE)


def _save(tokenizer: Tokenizer, folder: Path, template: str) -> int:
    from tokenizers import AddedToken

    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(SETTINGS, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return tokenizer.get_vocab_size()
