"""Makes errands.jsonl and held_out.csv: small word problems about shopping, with their answers.

    python recipes/tutorial/make_errands.py

Written for this project and under its licence. The order of the draws is fixed, so the files are the same everywhere.
"""

from __future__ import annotations

import csv
import itertools
import json
import random
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
TRAIN, HELD_OUT = 192, 32
THINGS = {"fruit": ("apples", "pears", "plums"), "bread": ("rolls", "loaves"), "post": ("stamps", "cards")}
NAMES = ("Ada", "Ben", "Cleo", "Dan")


def problems() -> list[tuple[str, str, str]]:
    """(question, answer, topic) of every errand there is: numbers up to nine."""
    found = []
    for name, (topic, things), a, b in itertools.product(NAMES, THINGS.items(), range(2, 10), range(2, 10)):
        thing = things[(a + b) % len(things)]
        found.append((f"{name} has {a} {thing} and buys {b} more. How many now?", str(a + b), topic))
        if a > b:
            found.append((f"{name} has {a} {thing} and gives {b} away. How many now?", str(a - b), topic))
    random.Random(0).shuffle(found)
    return found


def main() -> None:
    rows = problems()
    with (FOLDER / "errands.jsonl").open("w", encoding="utf-8") as file:
        for question, answer, topic in rows[:TRAIN]:
            file.write(json.dumps({"ask": question, "gold": {"text": answer}, "topic": topic}) + "\n")
    with (FOLDER / "held_out.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("problem", "solution"))
        writer.writerows((question, answer) for question, answer, _ in rows[TRAIN : TRAIN + HELD_OUT])


if __name__ == "__main__":
    main()
