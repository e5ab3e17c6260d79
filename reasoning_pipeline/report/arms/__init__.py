"""Arms beside one another: outcomes, differences, pictures."""
