"""Personal data out of texts: what people typed is masked before anything else reads it.

A redactor is a function from text to text. `patterns` (the default) finds e-mail addresses, phone numbers, secret keys,
card numbers and IP addresses by their form alone: it knows no names. `presidio` finds names and places as well, where
presidio-analyzer and presidio-anonymizer are installed. Behind either may stand a function of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from reasoning_pipeline.custom.loading import load_file
from reasoning_pipeline.errors import PipelineError

Redactor = Callable[[str], str]

PATTERNS: dict[str, re.Pattern[str]] = {
    "EMAIL": re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"),
    "KEY": re.compile(
        r"(?<![A-Za-z0-9])(?:sk|pk|rk|ghp|gho|ghs|hf|xox[abps]|AKIA|AIza|glpat)[-_]?[A-Za-z0-9_-]{16,200}"
        r"|(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,2000}(?:\.[A-Za-z0-9_-]{0,2000})?"
    ),
    "IP": re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])"),
    "CARD": re.compile(r"(?<!\d)(?:\d{4}[ -]){3}\d{4}(?!\d)|(?<!\d)\d{13,16}(?!\d)"),
    "PHONE": re.compile(
        r"(?<![A-Za-z0-9.])(?:\+\d{1,3}[ .-]?)(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}(?![A-Za-z0-9])"
        r"|(?<![A-Za-z0-9.])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![A-Za-z0-9])"
        r"|(?<![A-Za-z0-9.])1[3-9]\d{9}(?![A-Za-z0-9])"
    ),
}
"""In this order: a key may hold what looks like a number. The lengths are bounded, so that no text takes long."""


def by_patterns(text: str) -> str:
    """Example: by_patterns("mail ann@example.org") == "mail [EMAIL]"."""
    for name, pattern in PATTERNS.items():
        text = pattern.sub(f"[{name}]", text)
    return text


def redactor(name: str, file: str | None = None) -> Redactor:
    """The one that is named, and behind it `redact` of a file. Raises PipelineError where presidio is not installed, or
    the file has no such function."""
    named = by_patterns if name == "patterns" else _presidio() if name == "presidio" else str
    if file is None:
        return named
    own = getattr(load_file(Path(file)), "redact", None)
    if not callable(own):
        raise PipelineError(f"redactor_file: {file} has no function `redact`", remedy="def redact(text: str) -> str")
    return lambda text: str(own(named(text)))


def _presidio() -> Redactor:
    try:
        from presidio_analyzer import AnalyzerEngine
        from presidio_anonymizer import AnonymizerEngine
    except ModuleNotFoundError:
        raise PipelineError(
            "redactor: presidio is not installed",
            remedy="pip install 'reasoning-pipeline[presidio]', or take `redactor: patterns`",
        ) from None
    analyzer, anonymizer = AnalyzerEngine(), AnonymizerEngine()

    def masked(text: str) -> str:
        # Patterns afterwards: presidio knows people and places, but not the keys of services.
        found = analyzer.analyze(text=text, language="en")
        return by_patterns(str(anonymizer.anonymize(text=text, analyzer_results=found).text))

    return masked
