"""Learning from user logs: rules and preference pairs from feedback, an expert or a critic adapter for each cluster."""
