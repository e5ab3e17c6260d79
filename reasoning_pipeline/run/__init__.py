"""A plan walked: the runner, one process a step, and what a stage is handed."""
