"""Reasoning post-training: sparse reward on a large teacher, dense transfer to the student you deploy."""
