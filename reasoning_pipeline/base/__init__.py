"""What every room may use: rows, YAML, files written whole, fingerprints, locks, text. Knows nothing of ours."""
