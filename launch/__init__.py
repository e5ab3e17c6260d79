"""A recipe's plan as jobs of a cluster: scripts, the queue, what was submitted, and what must be fetched before."""
