"""The figures in README and docs, measured on the machine they are run on, and the tables of runs rendered.

Not tests: a slow machine is no failure.
"""
