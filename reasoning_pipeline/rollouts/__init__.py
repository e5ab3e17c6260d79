"""Generation for every stage and evaluation: one vLLM server, its client, proved weight pushes, and the fallback."""
