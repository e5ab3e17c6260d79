"""The figures in README, measured on the machine they are run on. Not tests: a slow machine is no failure."""
