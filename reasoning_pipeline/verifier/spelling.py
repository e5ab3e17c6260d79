r"""One way of writing what a keyboard, a model or a JSON writer writes in several: Unicode, escapes, grouped digits."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from reasoning_pipeline.verifier.bounds import words

_CHARACTERS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "∠": r"\angle ", "△": r"\triangle ",
    "÷": r"\div ", "∕": "/", "⁄": "/", "√": r"\sqrt ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ",
    "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ",
    "∈": r"\in ", "∅": r"\emptyset ", "°": r"^\circ ", "º": r"^\circ ", "˚": r"^\circ ", "′": "'", "’": "'",
    "ℝ": r"\mathbb{R}",
    "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "±": r"\pm ", "∓": r"\mp ", "∨": r"\lor ",
    "∧": r"\land ", "→": r"\to ", "…": r"\ldots ", "⋯": r"\cdots ", "∣": "|", "％": r"\%", "＄": r"\$",
    "€": r"\euro ", "£": r"\pounds ", "¥": r"\yen ", "￥": r"\yen ", "℃": r"^\circ C", "℉": r"^\circ F",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∀": r"\forall ", "，": ",", "；": ";",
    "、": ",", "：": ":", "。": ".", "٫": ".", "\ufeff": "", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
    "¢": r"\text{ cents}",
}  # fmt: skip
_GREEK = {
    unicodedata.lookup(f"GREEK SMALL LETTER {name.upper()}"): f"\\{name} "
    for name in words("alpha beta gamma delta epsilon zeta eta theta kappa mu nu xi rho sigma tau phi chi psi omega")
} | {"λ": r"\lambda "}


# A tab, form feed or bell before these letters is a backslash that some JSON writer swallowed: "\\t" + "ext{no}".
_SWALLOWED = re.compile(r"([\t\f\x08\r])(?=ext|extbf|rac|imes|heta|eta|egin|oxed|ight|ho\b)")
_ESCAPED = {"\t": r"\t", "\f": r"\f", "\b": r"\b", "\r": r"\r"}
# Digits in groups of three: a real group has one to three digits first, the first of them not zero. `2 04`, `0 123` and
# `1\,2` are two numbers, and stay two.
_GAP = r"(?:\{,\}|,\\!\s?|\\,|\\;|\\:|\\ |~|\s|\{\\,\}|,\\,)"
_THOUSANDS = re.compile(rf"(?<![\d.])(?<!\\frac)[1-9]\d{{0,2}}(?:{_GAP}\d{{3}}(?!\d))+")
_GAPS = re.compile(_GAP)
_DECIMAL_COMMA = re.compile(r"(?<![\d}.,])(\d+)\{,\}(\d+)(?![\d{.,])")
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ]+")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*(?:\{(\d+)\}|(\d))")
_SCIENTIFIC = re.compile(r"(?<![\w.\\])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?![\w.])")
_BRACED_COLON = re.compile(r"\{\s*:\s*\}|\\!:\\!")
_HTML_POWER = re.compile(r"<sup>(.*?)</sup>")


_EMPHASIS = re.compile(r"\s*(\*{1,3}|_{2,3}|`{1,3})(?![*_`\s])([^*`]+)(?<![\s*_`])\1\s*")


def with_backslashes(text: str) -> str:
    """The text with the backslashes that a JSON writer turned into tabs, form feeds and bells."""
    return _SWALLOWED.sub(lambda match: _ESCAPED[match[1]], text)


def ascii_latex(text: str) -> str:
    """The same text with Unicode mathematics, foreign digits and swallowed backslashes spelled as LaTeX."""
    text = with_backslashes(text).replace("\x00", " ")
    if emphasis := _EMPHASIS.fullmatch(text):  # **73**: markdown around the whole answer
        text = emphasis[2]
    signs = text.count("$") - text.count("\\$")
    if signs % 2 and text.lstrip("-+ ").startswith("$"):  # one dollar sign alone is money
        text = text.replace("$", r"\$", 1)
    text = _BRACED_COLON.sub(":", _HTML_POWER.sub(r"^{\1}", text))
    if not text.isascii():
        text = _SUPERSCRIPTS.sub(
            lambda match: "^{" + unicodedata.normalize("NFKC", match.group()).replace("−", "-") + "}", text
        )
        text = "".join(_spelled(character) for character in text)
    if "\\\\" in text:
        pairs_removed = text.replace("\\\\", "")
        if "\\" not in pairs_removed:  # every backslash is doubled: the text was escaped twice
            text = text.replace("\\\\", "\\")
        elif "\\begin" not in text:
            text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)
    return text


def plain_numbers(text: str) -> str:
    r"""Numbers in one form: `1{,}234` is 1234, `3{,}14` is 3.14, `6.02e23` a product, `0.1\overline{6}` "0.1(6)"."""
    text = _THOUSANDS.sub(lambda match: _GAPS.sub("", match.group()), text)
    text = _DECIMAL_COMMA.sub(r"\1.\2", text)
    text = _REPEATING.sub(lambda match: f"{match[1] or '0'}.{match[2]}\x00{match[3] or match[4]}", text)
    return _SCIENTIFIC.sub(r"\1*10^{\2}", text)


def repeating(digits: str) -> Fraction:
    """The value of "0.1\x006", which is 0.1666...: (16 - 1) / 90."""
    shown, repeated = digits.split("\x00")
    whole, fixed = shown.split(".")
    numerator = int(whole + fixed + repeated) - int(whole + fixed)
    return Fraction(numerator, int("9" * len(repeated) + "0" * len(fixed)))


def _spelled(character: str) -> str:
    if character.isascii():
        return character
    if (known := _CHARACTERS.get(character) or _GREEK.get(character)) is not None or character in _CHARACTERS:
        return known or ""
    name = unicodedata.name(character, "")
    if name.startswith("VULGAR FRACTION"):
        top, bottom = unicodedata.normalize("NFKC", character).split("⁄")
        return f"\\frac{{{top}}}{{{bottom}}}"
    plain = unicodedata.normalize("NFKC", character)
    if unicodedata.category(character) == "Cf":
        return ""
    if name.startswith("SUBSCRIPT"):
        return "_{" + plain + "}"
    if name.startswith("CIRCLED DIGIT"):
        return plain + ","
    digit = unicodedata.decimal(character, None)
    return str(digit) if digit is not None else plain
