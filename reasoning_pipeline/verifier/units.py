r"""Which words after a number are a unit, and which change what is said.

`5 \text{ cm}` and `17 \text{ marbles}` name a number with its unit. `42 \text{ or any other number}` and
`42 \text{ is wrong}` do not: a short noun phrase is a unit, anything with a word of grammar, doubt or denial is not.
"""

from __future__ import annotations

import re

from reasoning_pipeline.verifier.bounds import words

_UNITS = {
    "cm": "centimeter centimetre centimeters centimetres", "mm": "millimeter millimetre millimeters millimetres",
    "km": "kilometer kilometre kilometers kilometres", "m": "meter metre meters metres", "in": "inch inches",
    "ft": "foot feet", "yd": "yard yards", "mi": "mile miles", "mph": "", "kmh": "", "kg": "kilogram kilograms",
    "g": "gram grams", "mg": "milligram milligrams", "lb": "lbs pound pounds", "oz": "ounce ounces",
    "s": "sec secs second seconds", "min": "mins minute minutes", "h": "hr hrs hour hours", "day": "days",
    "week": "weeks",
    "month": "months", "year": "yr yrs years", "l": "liter litre liters litres", "ml": "milliliter milliliters",
    "gal": "gallon gallons", "dollar": "dollars usd bucks", "cent": "cents", "euro": "euros", "yuan": "rmb",
    "deg": "degree degrees",
    "rad": "radian radians", "am": "", "pm": "",
}  # fmt: skip
_CANONICAL = {name: unit for unit, names in _UNITS.items() for name in (unit, *names.split())}
_BARE = {
    "cm",
    "mm",
    "km",
    "kg",
    "mg",
    "ft",
    "mph",
    "lb",
    "lbs",
    "oz",
    "yd",
    "hr",
    "hrs",
    "min",
    "sec",
    "ml",
    "mL",
    "st",
    "nd",
    "rd",
    "th",
}
_GRAMMAR = set(
    words(
        "a an the or and but nor not no none neither either if unless when while because since so than then that this "
        "these those it its is are was were be been being isn aren wasn am do does did done don has have had having "
        "will would can could may might must shall should i you he she we they my your our their me us them what "
        "which who whose how why where other others another some all every each both many few several more most less "
        "least much fewer only just also too very again still instead except without as at by from in into of off on "
        "onto out over to under up with within for about around approximately approx roughly nearly almost maybe "
        "perhaps possibly probably likely unlikely presumably wrong right correct incorrect false true guess guessing "
        "guessed think believe sure unsure certain uncertain hopefully answer number value plus minus times divided "
        "between else different equal equals never always give take something anything zero one two three four five "
        "six seven eight nine ten eleven twelve dozen hundred thousand million billion half double twice infinity "
        "infinite undefined unknown actually really please reward grader accept"
    )
)
_INSIDE = {"per", "square", "cubic", "sq", "cu", "of", "p", "a"}
_MAX_WORDS = 3


_ONES = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")


def number_in_words(phrase: str) -> int | None:
    """The number below a hundred that a phrase spells: "forty two" is 42; None for anything else."""
    first, _, second = phrase.partition(" ")
    if first in _TENS:
        ones = _ONES.index(second) if second in _ONES[1:10] else 0 if not second else None
        return None if ones is None else 10 * (_TENS.index(first) + 2) + ones
    return _ONES.index(phrase) if phrase in _ONES else None


def is_unit_phrase(phrase: str) -> bool:
    """Whether lower-case words after a number are its unit.

    Example:
        is_unit_phrase("square units") and not is_unit_phrase("or any other number")
    """
    parts = phrase.split()
    if phrase in ("p m", "a m", "of a second", "of an hour"):
        return True
    if not parts or len(parts) > _MAX_WORDS or parts[0] in ("of", "per"):
        return False
    if len(parts) > 1 and parts[0] == "right":  # right triangles, right angles
        parts = parts[1:]
    return all(
        (part in _INSIDE and part != "a") or (part not in _GRAMMAR and re.fullmatch(r"[^\W\d_]+", part))
        for part in parts
    )


def is_bare_unit(letters: str) -> bool:
    """Units short enough to be mistaken for variables, and long enough not to be: `5cm`, `15th`, but not `4t`."""
    return letters in _BARE


def different_units(first: str, second: str) -> bool:
    """Both are known units of measure, and not the same one: 5 cm is not 5 m. Unknown words never differ."""
    known = [{_CANONICAL[word] for word in unit.split() if word in _CANONICAL} for unit in (first, second)]
    powers = [[word for word in unit.split() if word[0] == "^"] for unit in (first, second)]
    return bool(known[0] and known[1] and known[0] != known[1]) or bool(
        powers[0] and powers[1] and powers[0] != powers[1]
    )
