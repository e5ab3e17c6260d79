"""Weights into running servers: push and proof, one file a medium."""
