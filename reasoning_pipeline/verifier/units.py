r"""Which words after a number are a unit, which multiply it, and which change what is said.

`5 \text{ cm}` and `17 \text{ marbles}` name a number with its unit; `5 \text{ million}` is another number.
`42 \text{ or any other number}` and `42 \text{ is wrong}` are neither: a short noun phrase is a unit, anything with a
word of grammar, doubt or denial is not.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from reasoning_pipeline.verifier.bounds import words

_UNITS = {
    "cm": "centimeter centimetre centimeters centimetres", "mm": "millimeter millimetre millimeters",
    "km": "kilometer kilometre kilometers kilometres", "m": "meter metre meters metres", "in": "inch inches",
    "ft": "foot feet", "yd": "yard yards", "mi": "mile miles", "mph": "", "kmh": "kph", "kg": "kilogram kilograms",
    "g": "gram grams", "mg": "milligram milligrams", "t": "ton tons", "lb": "lbs pound pounds", "oz": "ounce ounces",
    "s": "sec secs second seconds", "ms": "", "min": "mins minute minutes", "h": "hr hrs hour hours", "day": "days",
    "week": "weeks", "month": "months", "year": "yr yrs years", "l": "liter litre liters litres",
    "ml": "milliliter milliliters millilitre millilitres", "gal": "gallon gallons", "pt": "pint pints",
    "qt": "quart quarts", "dollar": "dollars usd bucks", "cent": "cents", "euro": "euros eur",
    "pounds sterling": "gbp", "yuan": "rmb cny", "yen": "jpy", "won": "krw", "rupee": "rupees inr",
    "deg": "degree degrees", "celsius": "centigrade", "fahrenheit": "", "kelvin": "kelvins", "rad": "radian radians",
    "am": "midnight", "pm": "noon", "n": "newton newtons", "j": "joule joules", "w": "watt watts", "unit": "units",
}  # fmt: skip
_FOREIGN = {
    "cm": "厘米 公分 см 센티미터", "mm": "毫米 мм", "km": "千米 公里 км", "m": "metros mètres 米 м 미터",
    "kg": "千克 公斤 кг", "g": "克 г", "t": "吨", "s": "sekunden segundos secondes 秒 сек 초",
    "min": "minuten minutos 分钟 分 мин 분", "h": "stunden horas heures 小时 時間 ч 시간",
    "day": "tage días jours 天 日 дней 일", "week": "wochen semanas semaines 周", "month": "monate meses mois 个月",
    "year": "jahre años ans 年 岁 歳 лет", "l": "升", "ml": "毫升", "deg": "grad 度", "dollar": "dólares 美元 달러",
    "yuan": "元 块 人民币", "yen": "円", "won": "원", "euro": "欧元",
}  # fmt: skip
_CANONICAL = {name: unit for table in (_UNITS, _FOREIGN) for unit, names in table.items() for name in names.split()}
_CANONICAL |= {unit: unit for unit in _UNITS}
_COUNTERS = set(words("个 個 人 只 本 名 位 次 种 種 条 辆 张 枚 支 颗 棵 件 匹 頭 头 台 页 册 回 点 通り 개 명 번 권"))
_AREAS = {"平方米": "m ^2", "平方厘米": "cm ^2", "平方千米": "km ^2", "立方米": "m ^3", "立方厘米": "cm ^3",
          "평방미터": "m ^2", "제곱미터": "m ^2"}  # fmt: skip
_SCALES = set("万萬亿億兆千百十倍半不非无無没沒或约約以之")
_BARE = set(words("cm mm km kg mg ft mph kmh lb lbs oz yd hr hrs min sec ml mL st nd rd th am pm AM PM USD EUR"))
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
        "six seven eight nine ten eleven twelve double twice infinity infinite undefined unknown actually really "
        "please reward grader accept negative positive reciprocal inverse opposite root roots power powers factorial "
        "base mod modulo choose point fold percentile squareroot cuberoot doubled tripled halved percents e pi "
        "nicht kein keine oder und ist falsch richtig ungefähr faux pas ou est non ne ni es falso falsa incorrecto "
        "incorrecta errado não или не нет неверно"
    )
)
_INSIDE = set(words("per square cubic sq cu of p a squared cubed"))
_MAX_WORDS = 3

_ONES = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
_LARGE = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
    "ten": 10,
    "score": 20,
    "gross": 144,
    "lakh": 10**5,
    "crore": 10**7,
}
_ORDINALS = words("third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth")
_PARTS = dict(zip(_ORDINALS, range(3, 13), strict=True)) | {
    "half": 2, "halve": 2, "quarter": 4, "twentieth": 20, "fiftieth": 50, "hundredth": 100, "thousandth": 1000,
    "millionth": 10**6,
}  # fmt: skip


def number_in_words(phrase: str) -> int | None:
    """The number that a phrase spells: "forty two" is 42, "minus four" -4; None for anything else."""
    parts = phrase.split()
    if parts[:1] in (["minus"], ["negative"]):
        positive = number_in_words(" ".join(parts[1:]))
        return None if positive is None else -positive
    if not parts or len(parts) > 12:
        return None
    total = group = 0
    last = 1000  # what may follow must be smaller: "twenty five", never "five twenty"
    for part in parts:
        if part in _ONES and last > 10 and (last >= 100 or part in _ONES[1:10]):
            group, last = group + _ONES.index(part), 1
        elif part in _TENS and last >= 100:
            group, last = group + 10 * (_TENS.index(part) + 2), 20
        elif part == "hundred" and 0 < group < 100:
            group, last = group * 100, 100
        elif part in ("thousand", "million", "billion") and 0 < group < 1000:
            total, group, last = total + group * _LARGE[part], 0, 1000
        else:
            return None
    return total + group


def multiplier(word: str) -> Fraction | None:
    """What a word after a number multiplies it by: "million", "tenths", "quarters"; None for a word that does not."""
    singular = word if word in _LARGE else word.removesuffix("s")
    if singular in _LARGE:
        return Fraction(_LARGE[singular])
    return Fraction(1, _PARTS[singular]) if singular in _PARTS else None


def is_unit_phrase(phrase: str) -> bool:
    """Whether lower-case words after a number are its unit.

    Example:
        is_unit_phrase("square units") and not is_unit_phrase("or any other number")
    """
    parts = phrase.split()
    if phrase in ("of a second", "of an hour", "pm", "am", "in") or re.fullmatch(
        r"in (squared|cubed|\^\d)|(square|sq|cubic|cu) in", phrase
    ):
        return True
    if not parts or len(parts) > _MAX_WORDS + 2 * parts.count("per") or parts[0] in ("of", "per", "squared", "cubed"):
        return False
    if len(parts) > 1 and parts[0] == "right":  # right triangles, right angles
        parts = parts[1:]
    return all((part in _INSIDE and part != "a") or re.fullmatch(r"\^-?\d", part) or _is_noun(part) for part in parts)


def _is_noun(word: str) -> bool:
    if not word.isascii() and not (len(word) > 1 and word.isalpha() and ord(word[0]) < 0x2E80):
        # Only units that are known, or a counter with its noun: in `5万元` the first character is a factor.
        counted = word[0] in _COUNTERS and len(word) <= 5 and _SCALES.isdisjoint(word)
        return word in _CANONICAL or word in _AREAS or counted
    return word not in _GRAMMAR and multiplier(word) is None and re.fullmatch(r"[^\W\d_]+", word) is not None


def is_bare_unit(letters: str) -> bool:
    """Units short enough to be mistaken for variables, and long enough not to be: `5cm`, `15th`, but not `4t`."""
    return letters in _BARE


def different_units(first: str, second: str) -> bool:
    """Both are known units, and not the same one: 5 cm is not 5 m, nor 5 cm^2. Unknown words never differ."""
    a, b = _measure(first), _measure(second)
    if not a or not b:
        return _powers(first) != _powers(second) and bool(_nouns(first) & _nouns(second))
    if "unit" in a or "unit" in b:  # 5 square units may be 5 cm^2, never 5 cm
        return sum(a.values()) != sum(b.values())
    return a != b


def _nouns(phrase: str) -> set[str]:
    return {word.removesuffix("s") for word in phrase.split() if word not in _INSIDE and word[0] != "^"}


def _powers(phrase: str) -> list[str]:
    """What raises a unit: "square", "^2", "cubed"."""
    named = {"square": "^2", "sq": "^2", "squared": "^2", "cubic": "^3", "cu": "^3", "cubed": "^3"}
    return sorted(named.get(word, word) for word in phrase.split() if word in named or word[0] == "^")


def names_no_more(gold: str, answer: str) -> bool:
    """Whether an answer's unit has only words that the reference's has, or that are known: no `5 cm ish`."""
    words_of_gold = {word.removesuffix("s") for word in gold.split()}
    known = _CANONICAL.keys() | _INSIDE | _AREAS.keys() | {"dollar", "euro", "pound", "yen"}
    return all(word in known or word[0] == "^" or word.removesuffix("s") in words_of_gold for word in answer.split())


@lru_cache(maxsize=1024)
def _measure(phrase: str) -> dict[str, int]:
    """The known units in a phrase with their exponents: "m per s ^2" is {"m": 1, "s": -2}."""
    found: dict[str, int] = {}
    sign, power, last = 1, 1, ""
    for word in " ".join(_AREAS.get(part, part) for part in phrase.split()).split():
        if word in ("square", "sq", "cubic", "cu"):
            power = 2 if word.startswith("s") else 3
        elif word == "per":
            sign = -1
        elif last and (word in ("squared", "cubed") or word[0] == "^"):
            exponent = {"squared": 2, "cubed": 3}.get(word) or int(word[1:])
            found[last] = found[last] * exponent
        elif word in _CANONICAL:
            last = _CANONICAL[word]
            if last in ("mph", "kmh"):
                found |= {"mi" if last == "mph" else "km": 1, "h": -1}
            else:
                found[last] = sign * power
            power = 1
    if "celsius" in found or "fahrenheit" in found:
        found.pop("deg", None)
    return found
