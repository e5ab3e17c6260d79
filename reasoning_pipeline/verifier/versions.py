"""Names and versions of everything that has a say in a verdict. They travel with every result."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

VERIFIER_VERSION = "2.1"
"""Rises whenever a verdict may change. Results of different versions are compared only after regrading."""

_PACKAGES = ("math-verify", "latex2sympy2_extended", "sympy", "mpmath", "antlr4-python3-runtime")


def verifier_versions() -> dict[str, str]:
    """Version of the verifier and of each library under it.

    Example:
        {"verifier": "2.1", "math-verify": "0.9.0", "latex2sympy2_extended": "1.11.0", "sympy": "1.14.0", ...}
    """
    versions = {"verifier": VERIFIER_VERSION}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
