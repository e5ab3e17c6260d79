"""Sources of problems, the arithmetic world, tokenizers made here, and the one place where prompts are rendered."""
