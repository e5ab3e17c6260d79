"""Before any GPU-hour: what would stop a recipe on a machine, found in seconds, each finding with its remedy.

`subject` holds what is examined, the other modules the checks, each one small function; `examine` runs them all. A
check that fails does not stop the others.
"""
