"""Scores with their uncertainty: over samples, over pairs of runs, over seeds."""
