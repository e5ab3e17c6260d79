"""Small questions about one or two answers: is it a name, a literal, an interval; does it round to that decimal?

No rule of grading is decided here; `compare` asks and decides.
"""

from __future__ import annotations

import itertools
import re

from reasoning_pipeline.verifier.answers import Answer
from reasoning_pipeline.verifier.bounds import TooLarge, Unreadable
from reasoning_pipeline.verifier.exact import NoNormalForm, normal_form, rational
from reasoning_pipeline.verifier.numeric import real_value, variables
from reasoning_pipeline.verifier.trees import MINUS_ONE, Tree, contains, substitute, times

_DENIAL = re.compile(
    r"\b(not|no|never|isn|isnt|aren|wasn|wrong|incorrect|false|or|nor|except|other|anything|maybe|than)\b"
)
MAX_ITEMS = 64
"""Longest list that is compared item by item, and most tuples that plus-minus signs are expanded to."""


def meaningless(answer: Answer) -> bool:
    """Equal to itself, and still nothing: 0/0, infinity minus infinity."""
    if answer[0] != "expr" or answer[1] == ("s", "infty") or real_value(answer[1]) is not None:
        return False
    if any(contains(answer[1], kind) for kind in ("±", "M", "b")):
        return False
    try:
        normal_form(answer[1])
    except NoNormalForm:
        return not variables(answer[1]) and answer[1][0] in ("+", "*", "^")
    except TooLarge:
        return False
    return False


def exact_side(answer: Answer) -> Answer:
    return answer[1] if answer[0] == "approx" else answer


def expand_plus_minus(answer: Answer) -> Answer:
    r"""`1 \pm \sqrt{2}` is the list of both; in a tuple every component chooses for itself."""
    if answer[0] == "expr":
        branches = _branches(answer[1])
        return answer if len(branches) == 1 else ("list", tuple(("expr", branch) for branch in branches))
    if answer[0] == "eq" and answer[1][-1][0] == "expr" and len(_branches(answer[1][-1][1])) > 1:
        return ("list", tuple(("eq", (*answer[1][:-1], item)) for item in expand_plus_minus(answer[1][-1])[1]))
    if answer[0] == "seq" and any(item[0] == "expr" and len(_branches(item[1])) > 1 for item in answer[3]):
        choices = [[("expr", b) for b in _branches(item[1])] if item[0] == "expr" else [item] for item in answer[3]]
        return (
            "list",
            tuple(("seq", *answer[1:3], items) for items in itertools.islice(itertools.product(*choices), MAX_ITEMS)),
        )
    if answer[0] == "list":
        items = [expand_plus_minus(item) for item in answer[1]]
        return (
            "list",
            tuple(
                part for item in items for part in (item[1] if item[0] == "list" and item not in answer[1] else (item,))
            ),
        )
    return answer


def _branches(tree: Tree) -> list[Tree]:
    """The formula with every ± upper, and with every ± lower; one branch when there is none."""
    return [tree] if not contains(tree, "±") else [_with_sign(tree, 1), _with_sign(tree, -1)]


def _with_sign(tree: Tree, sign: int) -> Tree:
    if tree and tree[0] == "±":
        term = _with_sign(tree[2], sign)
        return term if sign * tree[1] > 0 else times((MINUS_ONE, term))
    if tree and tree[0] in ("n", "d", "s", "b"):
        return tree
    return tuple(_with_sign(part, sign) if isinstance(part, tuple) else part for part in tree)


def is_interval(gold: Answer, answer: Answer) -> bool:
    """Two sequences of which one is an interval for sure: `(1, 2]`, or an infinite end."""
    return any(side[1:3] != ("(", ")") or ("expr", ("s", "infty")) in side[3] for side in (gold, answer))


def letters_of(answer: Answer) -> str | None:
    """The word an answer spells: text as it is, one letter or a product of bare letters in its written order."""
    if answer[0] == "text":
        return re.sub(r"(?<!\d) | (?!\d)", "", answer[1])  # spaces part digits, and nothing else
    if answer[0] == "list" and answer[1]:
        words = [letters_of(item) for item in answer[1]]
        return None if None in words else re.sub(r"(?<!\d) | (?!\d)", "", " ".join(word for word in words if word))
    if answer[0] == "expr":
        factors = answer[1][1] if answer[1][0] == "*" else (answer[1],)
        if all(factor[0] == "s" and "_" not in factor[1] for factor in factors):
            return "".join(factor[1] for factor in factors).lower()
        if answer[1][0] == "n":
            return str(answer[1][1])
    return None


def whole_number(answer: Answer) -> int | None:
    return answer[1][1].numerator if answer[0] == "expr" and answer[1][0] == "n" else None


def quotient(ratio: Answer) -> Answer | None:
    if len(ratio[1]) != 2 or any(item[0] != "expr" for item in ratio[1]):
        return None
    return ("expr", times((ratio[1][0][1], ("^", ratio[1][1][1], MINUS_ONE))))


def is_name(side: Answer) -> bool:
    r"""What may stand left of an answer: `x`, `f(3)`, `(p, q)`, `AB`, `\frac{NO}{BO}`, `A:B`, a word."""
    if side[0] == "text":
        return _DENIAL.search(side[1]) is None
    if side[0] == "label":
        return is_name(("text", side[1])) and is_name(side[2])
    if side[0] in ("seq", "ratio"):
        return all(is_name(item) for item in side[3 if side[0] == "seq" else 1])
    return side[0] == "expr" and _is_name_tree(side[1])


def _is_name_tree(tree: Tree) -> bool:
    if tree[0] == "s":
        return tree[1] not in ("pi", "infty")
    if tree[0] == "f":
        return len(tree[1].rstrip("'")) == 1 or (tree[1] == "abs" and _is_name_tree(tree[2][0]))
    if tree[0] == "^":
        return tree[2] == MINUS_ONE and _is_name_tree(tree[1])
    if (
        tree[0] == "*"
        and tree[1][0][0] == "s"
        and len(tree[1]) == 2
        and tree[1][1][0] in ("n", "+", "s")
        and tree[1][0][1].isupper()
    ):
        return True  # P(x), T(10), AB
    return tree[0] == "*" and all(
        _is_name_tree(factor) and (factor[0] != "s" or factor[1][0].isupper()) for factor in tree[1]
    )


def named_values(items: tuple[Answer, ...], *, alphabetical: bool = False) -> tuple[Answer, ...] | None:
    """The values of `x = 1, y = 2`, each of another letter; None for anything less plain.

    In their written order, or (`alphabetical`) in that of their letters, which makes them the pair (1, 2).
    """
    if not all(
        item[0] == "eq" and len(item[1]) == 2 and item[1][0][0] == "expr" and item[1][0][1][0] == "s" for item in items
    ):
        return None
    values = {item[1][0][1][1]: item[1][1] for item in items}
    if len(values) != len(items) or len(items) < 2:
        return None
    return tuple(values[name] for name in (sorted(values) if alphabetical else values))


def names_out_of_order(side: Answer) -> bool:
    """A tuple of neighbouring letters that is not in their order: (y, x)."""
    if side[0] != "seq" or not all(
        item[0] == "expr" and item[1][0] == "s" and len(item[1][1]) == 1 for item in side[3]
    ):
        return False
    places = [ord(item[1][1]) for item in side[3]]
    return places != sorted(places) and max(places) - min(places) == len(places) - 1


def renamed_argument(first: Answer, second: Answer) -> tuple[str, str] | None:
    if first[0] == second[0] == "expr" and first[1][0] == second[1][0] == "f" and first[1][1] == second[1][1]:
        arguments = first[1][2], second[1][2]
        if all(len(side) == 1 and side[0][0] == "s" for side in arguments):
            return arguments[0][0][1], arguments[1][0][1]
    return None


def value_of_function(first: Answer, second: Answer) -> bool:
    """`y` and `f(x)`: the value of a function by its usual letter, and as the function's."""
    return (
        first == ("expr", ("s", "y")) and second[0] == "expr" and second[1][0] == "f" and second[1][2] == (("s", "x"),)
    )


def renamed_parameter(gold: Tree, answer: Tree) -> Tree | None:
    r"""`k\pi` for `n\pi`: the integer that runs through a periodic solution may have another letter."""
    first, second = variables(gold), variables(answer)
    if (
        len(first) == len(second) == 1
        and first != second
        and first | second <= set("kmn")
        and ("s", "pi") in _atoms(gold)
    ):
        return substitute(answer, second.pop(), ("s", first.pop()))
    return None


def _atoms(tree: Tree) -> set[Tree]:
    if tree[0] == "s":
        return {tree}
    return (
        set().union(*(_atoms(part) for part in tree if isinstance(part, tuple) and part))
        if tree[0] not in ("n", "d", "b")
        else set()
    )


_CALLS = {"max", "min", "gcd", "lcm", "floor", "ceil"}
_CIRCULAR = {"sin", "cos", "tan", "cot", "sec", "csc"}


def calls(tree: Tree) -> set[str]:
    """The functions in a tree that choose or round, and so leave their work to the reader."""
    if not isinstance(tree, tuple) or not tree or tree[0] in ("n", "d", "s", "b"):
        return set()
    own = {tree[1]} & _CALLS if tree[0] == "f" else set()
    return own.union(*(calls(part) for part in tree if isinstance(part, tuple)))


def loose_degrees(tree: Tree, *, inside: bool) -> bool:
    """Whether degrees stand inside a formula that is no angle: a degree sign on all of it, or in a sine, is none."""
    if not isinstance(tree, tuple) or not tree or tree[0] in ("n", "d", "s", "b"):
        return False
    if tree[0] == "deg":
        return inside or loose_degrees(tree[1], inside=True)
    if tree[0] == "f" and tree[1] in _CIRCULAR:
        return False
    return any(loose_degrees(part, inside=True) for part in tree if isinstance(part, tuple))


def scaled_matrix(tree: Tree) -> Tree | None:
    """A matrix, or the product of numbers with one, multiplied out; None for anything else."""
    if tree[0] == "M":
        return tree
    if tree[0] != "*":
        return None
    matrices = [factor for factor in tree[1] if factor[0] == "M"]
    scalars = tuple(factor for factor in tree[1] if factor[0] != "M")
    if len(matrices) != 1 or any(contains(scalar, "M") for scalar in scalars):
        return None
    kind, rows = matrices[0][1:]
    return ("M", kind, tuple(tuple(_computed(times((*scalars, cell))) for cell in row) for row in rows))


def _computed(cell: Tree) -> Tree:
    try:
        value = rational(cell)
    except Unreadable:
        return cell
    return cell if value is None else ("n", value)


def is_solution(equation: Answer) -> bool:
    """`x = 5`, `5 = x`: a name and a number."""
    sides = [side for side in equation[1] if not is_name(side)]
    return len(sides) == 1 and sides[0][0] == "expr" and not variables(sides[0][1])
