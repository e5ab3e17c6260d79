r"""Tokens of one formula to a syntax tree. Small nested tuples, so that trees hash, compare and travel cheaply.

    ("n", Fraction)             integer                ("s", name)             variable or constant
    ("d", Fraction, digits)     decimal as written     ("f", name, arguments)  function, root, factorial, ...
    ("+", terms)  ("*", factors)  ("^", base, exponent)
    ("%", x)  ("deg", x)        percent, degrees       ("±", 1 or -1, x)       plus-minus, minus-plus
    ("b", digits, base)         numeral with a base    ("M", kind, rows)       matrix

What is not in this grammar raises `Unreadable`; sums, integrals and limits raise `NeedsAlgebra`, since math-verify can
read those in a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from reasoning_pipeline.verifier.bounds import Unreadable, words
from reasoning_pipeline.verifier.cleaning import FUNCTIONS, Token
from reasoning_pipeline.verifier.matrices import matrix
from reasoning_pipeline.verifier.numerals import REPEATS, base_of
from reasoning_pipeline.verifier.reader import TokenReader
from reasoning_pipeline.verifier.spelling import repeating
from reasoning_pipeline.verifier.trees import HALF, MINUS_ONE, ONE, Tree, over, times


class NeedsAlgebra(Unreadable):
    """A sum, an integral, a limit: legible, but not to this grammar."""


SYMBOLS = set(
    words(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi "
        "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega pi infty ell hbar mho ldots Re Im"
    )
)
ALGEBRA = set(words("sum prod int iint iiint oint lim limsup liminf bmod pmod mod partial nabla"))
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc"}
_CLOSERS = {"(": ")", "[": "]", "{": "}", "\\{": "\\}"}
_FUNCTION_LETTERS = "fgh"
_NO_FACTORS = set(words("pm mp rfloor rceil circ rvert approx to in cup cap over choose"))


def parse_expression(tokens: Sequence[Token]) -> Tree:
    """The tree of a whole token sequence."""
    parser = Parser(list(tokens))
    tree = parser.stack()
    if parser.rest():
        raise Unreadable(f"unexpected {parser.peek()[1]!r}")
    return tree


class Parser(TokenReader):
    """Recursive descent over tokens: `position` moves on, and a method reads the largest thing that starts there."""

    def stack(self) -> Tree:
        r"""A sum, or two of them as old TeX stacks them: `3 \over 4`, `n \choose k`."""
        tree = self.sum()
        if self.peek().kind == "command" and self.peek().value in ("over", "choose"):
            return over(tree, self.sum()) if self.next().value == "over" else ("f", "binom", (tree, self.sum()))
        return tree

    def sum(self) -> Tree:
        terms: list[Tree] = []
        sign, first = 1, True
        while True:
            kind, value = self.peek()
            if kind == "operator" and value in "+-":
                self.position += 1
                sign, first = (-sign if value == "-" else sign), False
                continue
            if kind == "command" and value in ("pm", "mp"):
                self.position += 1
                term: Tree = ("±", 1 if value == "pm" else -1, self.product())
            elif terms and first:
                break
            else:
                term = self.product()
            terms.append(times((MINUS_ONE, term)) if sign < 0 else term)
            sign, first = 1, True
        return terms[0] if len(terms) == 1 else ("+", tuple(terms))

    def product(self) -> Tree:
        factors = [self.factor()]
        while True:
            kind, value = self.peek()
            if kind == "operator" and value == "*":
                self.position += 1
                factors.append(self.signed_factor())
            elif kind == "operator" and value == "/":
                self.position += 1
                factors.append(over(ONE, self.signed_factor()))
            elif self.starts_factor():
                beside = factors[-1][0] in ("n", "d")
                if kind == "number" and factors[-1][0] not in ("n", "d", "s"):
                    raise Unreadable("a number behind a formula")  # \sqrt{6}1
                factors.append(self.factor())
                if beside and (kind == "number" or (value == "{" and factors[-1][0] in ("n", "d"))):
                    raise Unreadable("two numbers side by side")
            else:
                return times(tuple(factors))

    def signed_factor(self) -> Tree:
        sign = 1
        while self.peek().kind == "operator" and self.peek().value in "+-":
            sign = -sign if self.next().value == "-" else sign
        factor = self.factor()
        return times((MINUS_ONE, factor)) if sign < 0 else factor

    def starts_factor(self) -> bool:
        kind, value = self.peek()
        if kind == "operator":
            return value in ("(", "[", "{")
        if kind == "command":
            return value not in _NO_FACTORS
        return kind in ("number", "letter", "begin")

    def factor(self) -> Tree:
        base = self.atom()
        while True:
            kind, value = self.peek()
            if kind == "command" and value == "circ":
                self.position += 1
                base = ("deg", base)
            elif kind != "operator":
                return base
            elif value == "^":
                self.position += 1
                base = self.superscript(base)
            elif value == "!":
                self.position += 1
                base = ("f", "factorial", (base,))
            elif value == "%":
                self.position += 1
                base = ("%", base)
            elif value == "'":
                raise Unreadable("a prime")
            else:
                return base

    def superscript(self, base: Tree) -> Tree:
        if self.peek() == ("command", "circ"):
            self.position += 1
            return ("deg", base)
        if self.peek().value == "{" and self.peek(1) == ("command", "circ") and self.peek(2).value == "}":
            self.position += 3
            return ("deg", base)
        return ("^", base, self.argument(signed=True))

    def argument(self, *, one_digit: bool = False, signed: bool = False) -> Tree:
        """What a command, `^` or `_` applies to: a braced group, or the next single thing."""
        kind, value = self.peek()
        if kind == "operator" and value == "{":
            return self.group()
        if kind == "number" and one_digit and len(value) > 1 and value[:2].isdigit():
            self.tokens[self.position] = Token("number", value[1:])
            return ("n", Fraction(int(value[0])))
        if signed and kind == "operator" and value in "+-":
            return self.signed_factor()
        return self.atom()

    def group(self) -> Tree:
        closer = _CLOSERS[self.next().value]
        tree = self.stack()
        self.expect(closer)
        return tree

    def atom(self) -> Tree:
        kind, value = self.next()
        if kind == "number":
            return self.number(value)
        if kind == "letter":
            return self.letter(value)
        if kind == "operator" and value in ("(", "[", "{"):
            self.position -= 1
            return self.group()
        if kind == "operator" and value == "|":
            inner = self.sum()
            self.expect("|")
            return ("f", "abs", (inner,))
        if kind == "begin":
            return matrix(self, value)
        if kind == "command":
            return self.command(value)
        raise Unreadable(f"unexpected {value!r}")

    def number(self, digits: str) -> Tree:
        if self.peek().value == "_":
            self.position += 1
            base = base_of(self.subscript())
            if base is None or not digits.isdigit():
                raise Unreadable("a subscript on a number that is not a base")
            return ("b", digits.lstrip("0") or "0", base)
        if "\x00" in digits:
            return ("d", repeating(digits), REPEATS)
        if "." in digits:
            return ("d", Fraction(digits), len(digits.split(".")[1]))
        whole = ("n", Fraction(int(digits)))
        fraction = self.proper_fraction()
        return ("+", (whole, fraction)) if fraction else whole

    def letter(self, name: str) -> Tree:
        name += "'" * self.primes()
        if self.peek().value == "_":
            self.position += 1
            return ("s", f"{name}_{self.subscript()}")
        if name.rstrip("'") in _FUNCTION_LETTERS and self.peek().value == "(":
            self.position += 1
            return ("f", name, self.arguments(")"))
        return ("s", name)

    def arguments(self, closer: str) -> tuple[Tree, ...]:
        arguments = [self.sum()]
        while self.peek().value == ",":
            self.position += 1
            arguments.append(self.sum())
        self.expect(closer)
        return tuple(arguments)

    def command(self, name: str) -> Tree:
        if name in SYMBOLS:
            return self.letter(name)
        if name == "frac":
            top = self.argument(one_digit=True)
            return over(top, self.argument(one_digit=True))
        if name == "sqrt":
            return self.root()
        if name == "binom":
            return ("f", "binom", (self.argument(one_digit=True), self.argument(one_digit=True)))
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            self.expect("rfloor" if name == "lfloor" else "rceil")
            return ("f", "floor" if name == "lfloor" else "ceil", (inner,))
        if name in FUNCTIONS:
            return self.function(name)
        if name in ALGEBRA:
            raise NeedsAlgebra(f"\\{name}")
        raise Unreadable(f"\\{name} is not known")

    def root(self) -> Tree:
        if self.peek().value == "[":
            self.position += 1
            index = self.sum()
            self.expect("]")
            return ("f", "root", (self.argument(), index))
        radicand = self.group() if self.peek().value == "(" else self.argument()
        return ("^", radicand, HALF)

    def function(self, name: str) -> Tree:
        power: Tree | None = None
        base: Tree | None = None
        while self.peek().value in ("^", "_") and self.peek().kind == "operator":
            if self.next().value == "^":
                power = self.argument(signed=True)
            else:
                base = self.argument()
        if power == times((MINUS_ONE, ONE)) and name in _INVERSES:
            name, power = _INVERSES[name], None
        if self.peek().value in ("(", "{", "["):
            closer = _CLOSERS[self.next().value]
            arguments = self.arguments(closer)
        else:
            arguments = (self.bare_argument(),)
        tree: Tree = ("f", name, arguments)
        if base is not None:
            if name != "log":
                raise Unreadable(f"\\{name} with a subscript")
            tree = times((("f", "ln", arguments), ("^", ("f", "ln", (base,)), MINUS_ONE)))
        elif name == "log":
            tree = ("f", "ln", arguments)
        return ("^", tree, power) if power is not None else tree

    def bare_argument(self) -> Tree:
        r"""`\sin 2x \cos y`: factors up to the next function or sign."""
        factors = [self.signed_factor()]
        while self.starts_factor() and not (self.peek().kind == "command" and self.peek().value in FUNCTIONS):
            if self.peek().value in ("(", "["):
                break
            factors.append(self.factor())
        return times(tuple(factors))
