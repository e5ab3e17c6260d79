"""Asking rollout servers: requests, several servers as one, scoring, and a scripted stand-in."""
