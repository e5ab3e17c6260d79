"""Folders that lie elsewhere in a wheel than in a checkout; see reasoning_pipeline/beside."""

from setuptools import find_packages, setup

INSIDE = {f"reasoning_pipeline.beside.{name}": name for name in ("evals", "launch", "recipes")}

setup(
    packages=[*find_packages(include=["reasoning_pipeline", "reasoning_pipeline.*"]), *INSIDE],
    package_dir=INSIDE,
)
