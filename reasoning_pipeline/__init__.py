"""A small reasoning model made well: sparse reward on a large teacher, dense transfer to the student you deploy."""

__version__ = "0.1.0"
