"""The training stages in plain torch, to be read; the tests hold the real stages against them. Start with grpo.py."""
