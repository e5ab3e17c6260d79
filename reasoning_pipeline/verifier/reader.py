r"""Tokens read one after another, and the small things that are told by tokens alone: primes, subscripts, fractions."""

from __future__ import annotations

from fractions import Fraction

from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.cleaning import Token
from reasoning_pipeline.verifier.trees import Tree, over


class TokenReader:
    """A place in a sequence of tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0

    def rest(self) -> bool:
        return self.position < len(self.tokens)

    def peek(self, ahead: int = 0) -> Token:
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else Token("end of answer", "")

    def next(self) -> Token:
        token = self.peek()
        self.position += 1
        return token

    def expect(self, value: str) -> None:
        if self.next().value != value:
            raise Unreadable(f"{value} expected")

    def proper_fraction(self) -> Tree | None:
        r"""The rest of a mixed numeral: `2\frac{1}{2}` or `2 1/2`, only with a plain proper fraction."""
        shown = [token.value for token in self.tokens[self.position : self.position + 7]]
        if shown[:1] == ["frac"]:
            if len(shown) == 7 and shown[1] == shown[4] == "{" and shown[3] == shown[6] == "}":
                top, bottom, length = shown[2], shown[5], 7
            elif len(shown) >= 2 and shown[1].isdigit() and len(shown[1]) == 2:
                top, bottom, length = shown[1][0], shown[1][1], 2
            else:
                return None
        elif len(shown) >= 3 and shown[1] == "/" and shown[0].isdigit() and self.peek().kind == "number":
            top, bottom, length = shown[0], shown[2], 3
        else:
            return None
        if not (top.isdigit() and bottom.isdigit() and 0 < int(top) < int(bottom)):
            return None
        self.position += length
        return over(("n", Fraction(int(top))), ("n", Fraction(int(bottom))))

    def primes(self) -> int:
        r"""How many primes a letter carries: `y''`, `y^\prime`, `y^{\prime}`."""
        count = 0
        while self.peek().value in ("'", "^"):
            shown = [self.peek(ahead).value for ahead in range(4)]
            for form in (["'"], ["^", "'"], ["^", "{", "'", "}"]):
                if shown[: len(form)] == form:
                    self.position += len(form)
                    count += 1
                    break
            else:
                break
        return count

    def subscript(self) -> str:
        """A subscript is part of the name, kept as text."""
        if self.peek().value != "{":
            return self.next().value
        start, depth = self.position, 0
        while self.rest():
            depth += {"{": 1, "}": -1}.get(self.next().value, 0)
            if depth == 0:
                inner = self.tokens[start + 1 : self.position - 1]
                return "".join(  # the space between two numbers stays: a_{1 2} is not a_{12}
                    (" " if index and token.kind == inner[index - 1].kind == "number" else "") + token.value
                    for index, token in enumerate(inner)
                )
        raise Unreadable("a subscript is never closed")
