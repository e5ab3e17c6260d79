"""One folder a workflow: its stages and what only it knows. Workflows do not know one another."""
