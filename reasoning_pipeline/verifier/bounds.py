r"""What is too much to read, decided before anything is computed: length, nesting, and the size of numbers.

A tower such as `10^{10^{10}}` must cost microseconds, and must do so before a big-integer power can take hold of the
interpreter: while one runs, no other thread and no alarm gets a turn.
"""

from __future__ import annotations

MAX_LENGTH = 512
"""Characters inside one box. The longest answer of MATH has 158."""
MAX_NESTING = 50
"""Levels of brackets, braces and environments. Deeper only as redundant parentheses, which are peeled off first."""
MAX_BITS = 40_000
"""Numbers are computed exactly up to this size; 2004! has 19,000 bits."""
MAX_FACTORIAL = 3_000
MAX_EXPONENT = 10_000
"""Largest exponent on anything that is not a plain variable."""


def words(text: str) -> tuple[str, ...]:
    """A list of words, written as a line of prose."""
    return tuple(text.split())


class Unreadable(Exception):
    """This answer has no reading: not a formula, list, interval or text that the rules know."""


class TooLarge(Unreadable):
    """Reading or computing this answer would cost more than an answer is worth."""


def check(text: str) -> str:
    """The text without redundant outer parentheses; raises `TooLarge` when it is too long or too deep."""
    if len(text) > MAX_LENGTH:
        raise TooLarge(f"{len(text)} characters in the box; at most {MAX_LENGTH} are read")
    text = peel(peel(text.replace("\\left(", "(").replace("\\right)", ")").strip()), "{", "}")
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    if deepest > MAX_NESTING:
        raise TooLarge(f"brackets nested {deepest} deep; at most {MAX_NESTING} are read")
    return text


def peel(text: str, opening: str = "(", closing: str = ")") -> str:
    """`((1))` is `(1)`: all but one of the brackets that enclose everything, in one pass."""
    leading = len(text) - len(text.lstrip(opening))
    trailing = len(text) - len(text.rstrip(closing))
    shells = min(leading, trailing)
    if shells < 2:
        return text
    depth, lowest = leading, leading
    for character in text[leading : len(text) - trailing]:
        depth += {opening: 1, closing: -1}.get(character, 0)
        lowest = min(lowest, depth)
    shells = min(shells, lowest)
    return text[shells - 1 : len(text) - shells + 1] if shells > 1 and depth == trailing else text
