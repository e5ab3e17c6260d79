"""A recipe as a graph of steps: identities, sharing, labels, and why a step would run again."""
