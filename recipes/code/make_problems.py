"""Makes problems.jsonl and held_out.jsonl: small functions, asked for in words, with their values for a few arguments.

    python recipes/code/make_problems.py

The problems were written for this project and are under its licence. The values come from the solutions.
"""

# ruff: noqa: E501
from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ASK = "Write a Python function `{entry}({names})` that {does}. Answer with one fenced block of Python."
WORDS = [["level"], ["Sandbox"], [""], ["noon"], ["a b a"]]
LISTS = [[[3, 1, 2]], [[]], [[5]], [[-1, 4, 4, 0]], [[2, 2, 2]]]
PAIRS = [[12, 18], [7, 3], [0, 5], [100, 10], [1, 1]]
COUNTS = [[1], [2], [7], [10], [15]]
PROBLEMS = [
    ("total", "numbers", "returns the sum of a list of numbers", "sum(numbers)", LISTS),
    ("largest", "numbers", "returns the largest number of a list, or None for an empty list", "max(numbers, default=None)", LISTS),
    ("evens", "numbers", "returns the even numbers of a list, in order", "[n for n in numbers if n % 2 == 0]", LISTS),
    ("squares", "numbers", "returns the squares of a list's numbers, in order", "[n * n for n in numbers]", LISTS),
    ("backwards", "numbers", "returns a list in reverse order", "numbers[::-1]", LISTS),
    ("distinct", "numbers", "returns how many different numbers a list has", "len(set(numbers))", LISTS),
    ("ascending", "numbers", "returns whether a list never goes down", "all(a <= b for a, b in zip(numbers, numbers[1:]))", LISTS),
    ("spread", "numbers", "returns the largest minus the smallest number of a list, 0 for an empty list", "max(numbers) - min(numbers) if numbers else 0", LISTS),
    ("running", "numbers", "returns the list of running sums", "[sum(numbers[: i + 1]) for i in range(len(numbers))]", LISTS),
    ("pairs", "numbers", "returns the list of sums of neighbours", "[a + b for a, b in zip(numbers, numbers[1:])]", LISTS),
    ("palindrome", "text", "returns whether a text reads the same backwards", "text == text[::-1]", WORDS),
    ("vowels", "text", "returns how many of a text's letters are vowels (a, e, i, o, u, in either case)", "sum(c in 'aeiou' for c in text.lower())", WORDS),
    ("capitals", "text", "returns how many capital letters a text has", "sum(c.isupper() for c in text)", WORDS),
    ("initials", "text", "returns the first letters of a text's words, joined", "''.join(word[0] for word in text.split())", WORDS),
    ("longest", "text", "returns the length of a text's longest word, 0 where it has none", "max(map(len, text.split()), default=0)", WORDS),
    ("doubled", "text", "returns a text with each of its characters twice", "''.join(2 * c for c in text)", WORDS),
    ("common", "a, b", "returns the greatest common divisor of two numbers that are not negative", "a if b == 0 else common(b, a % b)", PAIRS),
    ("distance", "a, b", "returns the absolute difference of two numbers", "abs(a - b)", PAIRS),
    ("power", "a, b", "returns a to the power of b modulo 97", "pow(a, b, 97)", PAIRS),
    ("between", "a, b", "returns the list of whole numbers from a up to b, b included, empty where a is larger", "list(range(a, b + 1))", PAIRS),
    ("prime", "n", "returns whether a positive number is prime", "n > 1 and all(n % d for d in range(2, n))", COUNTS),
    ("factorial", "n", "returns the factorial of n", "1 if n < 2 else n * factorial(n - 1)", COUNTS),
    ("fibonacci", "n", "returns the n-th Fibonacci number, where the first two are 1", "1 if n < 3 else fibonacci(n - 1) + fibonacci(n - 2)", COUNTS),
    ("digits", "n", "returns the sum of a number's digits", "sum(map(int, str(n)))", COUNTS),
    ("divisors", "n", "returns the divisors of a number in ascending order", "[d for d in range(1, n + 1) if n % d == 0]", COUNTS),
    ("binary", "n", "returns a number in binary, as a text without a prefix", "format(n, 'b')", COUNTS),
    ("triangle", "n", "returns the sum of the whole numbers from 1 to n", "n * (n + 1) // 2", COUNTS),
    ("collatz", "n", "returns how many Collatz steps lead from n to 1", "0 if n == 1 else 1 + collatz(n // 2 if n % 2 == 0 else 3 * n + 1)", COUNTS),
]  # fmt: skip
HELD_OUT = 4
"""Every so many-th problem is kept for the evaluation."""


def row(entry: str, names: str, does: str, value: str, calls: list[list]) -> dict:
    program = f"def {entry}({names}):\n    return {value}\n"
    space: dict = {}
    exec(program, space)
    return {
        "id": entry,
        "question": ASK.format(entry=entry, names=names, does=does),
        "answer": f"```python\n{program}```",
        "entry": entry,
        "tests": [{"arguments": call, "value": space[entry](*call)} for call in calls],
    }


def main() -> None:
    rows = [row(*problem) for problem in PROBLEMS]
    for name, kept in (("held_out", rows[::HELD_OUT]), ("problems", [r for r in rows if r not in rows[::HELD_OUT]])):
        (FOLDER / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in kept), encoding="utf-8")


if __name__ == "__main__":
    main()
