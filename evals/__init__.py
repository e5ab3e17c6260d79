"""Benchmarks: suites, sampling, verdicts, statistics, comparison. Imports `reasoning_pipeline`, never the reverse."""
