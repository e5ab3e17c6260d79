r"""Numerals of other bases: `4210_5`, `4210_{\text{five}}`, `(4210)_5`, `\text{4F}_{16}`, `4210 \text{ base } 5`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reasoning_pipeline.verifier.bounds import words
from reasoning_pipeline.verifier.cleaning import Token
from reasoning_pipeline.verifier.trees import Tree

REPEATS = -1
"""Stands where a decimal's number of places stands, for one whose places never end."""
_BASES = dict(
    zip(
        words(
            "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
            "eighteen nineteen twenty"
        ),
        range(2, 21),
        strict=True,
    )
) | {"binary": 2, "ternary": 3, "octal": 8, "decimal": 10, "dec": 10, "hexadecimal": 16, "hex": 16, "bin": 2, "oct": 8}
_DIGITS = "0123456789ABCDEFGHIJ"


def base_of(text: str) -> int | None:
    """The base that a subscript names: "5", "five", "base 5", "(5)"."""
    name = re.sub(r"[\s()]|\bbase", "", text.lower().replace("base", " "))
    if name.isdigit() and len(name) <= 2:
        return int(name)
    return _BASES.get(name)


def numeral(tokens: Sequence[Token]) -> Tree | None:
    """A whole answer that is a numeral with its base; None for anything else."""
    shown = [token.value.strip() for token in tokens]
    sign = "-" if shown and shown[0] == "-" and tokens[0].kind == "operator" else ""
    shown = shown[len(sign) :]
    if "_" in shown:
        place = shown.index("_")
        digits, base = shown[:place], base_of("".join(shown[place + 1 :]).strip("{}"))
    else:
        named = re.fullmatch(r"(.*?)[\s(]*(?:\bin\s+)?\bbase[\s-]*(\w+)[\s)]*", " ".join(shown), re.IGNORECASE)
        if named is None or not any(token.kind == "text" for token in tokens):
            return None
        digits, base = named[1].split(), base_of(named[2])
    if len(digits) > 2 and digits[0] == "(" and digits[-1] == ")":
        digits = digits[1:-1]
    written = "".join(digits)
    if base is None or not re.fullmatch(r"[0-9A-J]*[0-9][0-9A-J]*", written):
        return None
    if len(digits) > 1 and all(part.isdigit() for part in digits):
        return None  # `1 2_5` is two numbers
    if any(_DIGITS.index(digit) >= base for digit in written if digit.isalpha()):
        return None
    return ("b", sign + (written.lstrip("0") or "0"), base)
