r"""One way of writing what a keyboard, a model or a JSON writer writes in several: Unicode, escapes, grouped digits."""

from __future__ import annotations

import re
import unicodedata

from reasoning_pipeline.verifier.bounds import words

_CHARACTERS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "÷": r"\div ", "∕": "/", "⁄": "/", "√": r"\sqrt ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ",
    "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ",
    "∈": r"\in ", "∅": r"\emptyset ", "°": r"^\circ ", "º": r"^\circ ", "˚": r"^\circ ", "′": "'", "’": "'",
    "ℝ": r"\mathbb{R}",
    "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "±": r"\pm ", "∓": r"\mp ", "∨": r"\lor ",
    "∧": r"\land ", "→": r"\to ", "…": r"\ldots ", "⋯": r"\cdots ", "∣": "|", "％": r"\%", "＄": r"\$", "€": r"\$",
    "£": r"\$",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∀": r"\forall ", "，": ",", "；": ";",
    "、": ",", "：": ":", "。": ".", "٫": ".", "\ufeff": "", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
    "½": r"\frac{1}{2}",
    "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}",
}  # fmt: skip
_GREEK = {
    unicodedata.lookup(f"GREEK SMALL LETTER {name.upper()}"): f"\\{name} "
    for name in words("alpha beta gamma delta epsilon zeta eta theta kappa mu nu xi rho sigma tau phi chi psi omega")
} | {"λ": r"\lambda "}


# A tab, form feed or bell before these letters is a backslash that some JSON writer swallowed: "\\t" + "ext{no}".
_SWALLOWED = re.compile(r"([\t\f\x08\r])(?=ext|extbf|rac|imes|heta|eta|egin|oxed|ight|ho\b)")
_ESCAPED = {"\t": r"\t", "\f": r"\f", "\b": r"\b", "\r": r"\r"}
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\\!\s?|\\,|\\;|\\:|\\ |~|\s|\{\\,\}|,\\,)(?=\d{3}(?!\d))")
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ]+")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*(?:\{(\d+)\}|(\d))")
_SCIENTIFIC = re.compile(r"(?<![\w.\\])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?![\w.])")
_HTML_POWER = re.compile(r"<sup>(.*?)</sup>")


def ascii_latex(text: str) -> str:
    """The same text with Unicode mathematics, foreign digits and swallowed backslashes spelled as LaTeX."""
    text = _SWALLOWED.sub(lambda match: _ESCAPED[match[1]], text)
    text = _HTML_POWER.sub(r"^{\1}", text)
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


def _repeating(match: re.Match[str]) -> str:
    """`0.1\\overline{6}` as a fraction: (16 - 1) / 90."""
    whole, fixed, repeated = match[1] or "0", match[2], match[3] or match[4]
    numerator = int(whole + fixed + repeated) - int(whole + fixed)
    return f"\\frac{{{numerator}}}{{{'9' * len(repeated) + '0' * len(fixed)}}}"


def _spelled(character: str) -> str:
    if character.isascii():
        return character
    if (known := _CHARACTERS.get(character) or _GREEK.get(character)) is not None or character in _CHARACTERS:
        return known or ""
    name = unicodedata.name(character, "")
    plain = unicodedata.normalize("NFKC", character)
    if unicodedata.category(character) == "Cf":
        return ""
    if name.startswith("SUBSCRIPT"):
        return "_{" + plain + "}"
    if name.startswith("CIRCLED DIGIT"):
        return plain + ","
    digit = unicodedata.decimal(character, None)
    return str(digit) if digit is not None else plain
