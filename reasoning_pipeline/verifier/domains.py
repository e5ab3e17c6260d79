r"""What is said of the letters of an answer after it: `c \in \mathbb{R}`, `\text{for all } x`, `\text{where n is real}`

Such a tail is taken off only where every word and sign of it belongs to the grammar of domains and its letters occur
in the answer. Anything else (a denial, a restriction, another statement) stays, and makes the answer unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reasoning_pipeline.verifier.bounds import words
from reasoning_pipeline.verifier.cleaning import Token

_OPENERS = re.compile(r"(?i)[\s,;(]*(?:for|where|with|such that|as)\b")
_KINDS = {
    "integer": "Z", "integers": "Z", "whole": "Z", "real": "R", "reals": "R", "natural": "N", "rational": "Q",
    "complex": "C", "constant": "R", "constants": "R", "positive": "+", "nonnegative": "+", "nonzero": "!=0",
    "mathbbZ": "Z", "mathbbR": "R", "mathbbN": "N", "mathbbQ": "Q", "mathbbC": "C",
}  # fmt: skip
_FILLING = set(
    words(
        "for where with such that as all any every each an a the is are be being being arbitrary fixed number "
        "numbers value values of and may can which"
    )
)
_SIGNS = {",", "(", ")", "{", "}", "^", "_", "+", "*", "."}

Domain = tuple[frozenset[str], frozenset[str]]
"""The letters that are spoken of, and what they are said to be."""


def split_domain(tokens: Sequence[Token]) -> tuple[Sequence[Token], Domain | None]:
    r"""The answer without its tail, and the domain that the tail names; the tokens as they are where there is none."""
    depth = 0
    if not any(token.kind == "text" or token.value in ("in", "forall") for token in tokens):
        return tokens, None
    for index, token in enumerate(tokens):
        if index and depth == 0 and _may_open(tokens, index):
            domain = _domain(tokens[:index], tokens[index:])
            if domain is not None:
                return tokens[:index], domain
        if token.kind == "operator":
            depth += {"(": 1, "[": 1, "{": 1, "\\{": 1, ")": -1, "]": -1, "}": -1, "\\}": -1}.get(token.value, 0)
    if tokens and tokens[0] == ("command", "forall"):  # \forall x \in \mathbb{R}, f(x) = 0
        comma = next((i for i, token in enumerate(tokens) if token.value == ","), 0)
        domain = _domain(tokens[comma + 1 :], tokens[:comma]) if comma else None
        if domain is not None:
            return tokens[comma + 1 :], domain
    return tokens, None


def _may_open(tokens: Sequence[Token], index: int) -> bool:
    token = tokens[index]
    if token.kind == "text":
        return _OPENERS.match(token.value) is not None
    if token.kind == "command":
        return token.value == "forall"
    return (
        token.kind == "operator"
        and token.value in (",", "(")
        and any(part.value in ("in", "forall") or part.kind == "text" for part in tokens[index:])
    )


def _domain(head: Sequence[Token], tail: Sequence[Token]) -> Domain | None:
    letters: set[str] = set()
    said: set[str] = set()
    shown = [token.value for token in tail]
    for index, token in enumerate(tail):
        if token.kind == "text":
            for word in re.findall(r"[^\W_]+", token.value.replace("non-", "non")):
                if word in _KINDS:
                    said.add(_KINDS[word])
                elif word == "some":
                    said.add("some")
                elif len(word) == 1 and word != "a":
                    letters.add(word)
                elif word.lower() not in _FILLING:
                    return None
        elif token.kind == "letter":
            letters.add(token.value)
        elif token.kind == "command" and token.value in _KINDS:
            said.add(_KINDS[token.value])
        elif token.kind == "command" and token.value not in ("in", "forall"):
            return None
        elif token.kind == "number":
            form = shown[max(0, index - 3) : index]
            if token.value != "0" or (form[-1] != "!=" and form not in (["_", "{", ">"], ["_", "{", ">="])):
                return None
            said.add("!=0" if form[-1] == "!=" else "+")
        elif token.kind == "operator":
            if token.value in (">", ">=") and shown[max(0, index - 2) : index] != ["_", "{"]:
                return None
            if token.value not in _SIGNS | {"!=", ">", ">="}:
                return None
            if token.value == "+":
                said.add("+")
    known = {token.value for token in head if token.kind == "letter"}
    return (frozenset(letters), frozenset(said)) if letters and letters <= known else None


def restricts(domain: Domain) -> bool:
    """Whether a domain that only the answer names says more than is usual: integers are i to n, all else is real."""
    letters, said = domain
    usual = {"Z", "N", "+"} if letters <= set("ijklmn") else {"R", "C"}
    return not said <= usual
