"""Immutable artifacts on plain files: what was made, from what, and how. Record last; nothing is guessed."""
