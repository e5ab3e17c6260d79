"""Vectors of texts, and what must not change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from reasoning_pipeline.data.tokenizer_making import save_bpe_tokenizer
from reasoning_pipeline.models.reading import TextEmbedder


@pytest.fixture
def sentence_encoder(tmp_path: Path) -> Path:
    """A BERT of random weights: it counts positions from the left, whatever is padding."""
    save_bpe_tokenizer(tmp_path, ["iron pan", "soup with a great many words"], 300)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=400, **size)).save_pretrained(tmp_path)
    return tmp_path


def test_a_longer_text_in_the_same_pass_moves_no_word_of_a_shorter_one(sentence_encoder: Path):
    embed = TextEmbedder(sentence_encoder, pooling="mean", max_tokens=64)
    alone, beside = embed(["iron pan"])[0], embed(["iron pan", "soup with a great many words"])[0]
    assert np.allclose(alone, beside, atol=1e-5)
