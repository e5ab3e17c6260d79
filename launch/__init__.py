"""A recipe's plan as jobs of a cluster: their scripts, the queue, what was submitted, and what must be fetched before."""
