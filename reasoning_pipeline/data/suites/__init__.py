"""The benchmarks that ship, a YAML file each (`spec.py` says what may stand in one), and how they are loaded."""
