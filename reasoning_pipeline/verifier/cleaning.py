r"""From what a model typed to a short list of tokens: one spelling per meaning, nothing that only changes the look.

`½`, `\dfrac12`, `\tfrac{1}{2}` and full-width digits all come out the same; `\left`, `\,`, `\displaystyle` and dollar
signs go. What could change the meaning (text, percent, degree, primes, subscripts) stays, for later rules to judge.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from reasoning_pipeline.verifier.bounds import Unreadable, words
from reasoning_pipeline.verifier.spelling import ascii_latex, plain_numbers


class Token(NamedTuple):
    """One token: `kind` is number, letter, command, text, operator, begin or end.

    Example:
        Token("number", "3.50"), Token("command", "frac"), Token("text", " or "), Token("operator", "<=")
    """

    kind: str
    value: str


_SYNONYMS = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "nicefrac": "frac", "dbinom": "binom", "tbinom": "binom",
    "leq": "<=", "le": "<=", "leqslant": "<=", "leqq": "<=", "geq": ">=", "ge": ">=",
    "geqslant": ">=", "geqq": ">=", "lt": "<", "gt": ">", "ne": "!=", "neq": "!=", "times": "*", "cdot": "*",
    "ast": "*", "cdotp": "*",
    "div": "/", "vert": "|", "mid": "|", "lvert": "|", "rvert": "|", "lbrace": "\\{", "rbrace": "\\}", "lbrack": "[",
    "langle": "(", "rangle": ")",
    "rbrack": "]", "lparen": "(", "rparen": ")", "infin": "infty", "varnothing": "emptyset", "dots": "ldots",
    "cdots": "ldots", "dotsc": "ldots", "dotsm": "ldots", "dotsb": "ldots", "simeq": "approx", "thickapprox": "approx",
    "colon": ":", "textdollar": "dollar", "texteuro": "euro", "pounds": "pound", "textsterling": "pound",
    "textyen": "yen",  "wedge": "land", "vee": "lor", "degree": "circ", "backslash": "setminus",
    "smallsetminus": "setminus", "varepsilon": "epsilon", "varphi": "phi", "ratio": ":", "arctg": "arctan", "tg": "tan",
    "arcctg": "arccot", "ctg": "cot", "longrightarrow": "to", "rightarrow": "to", "prime": "'", "doteq": "approx",
}  # fmt: skip
CURRENCIES = set(words("dollar euro pound yen"))
_OPERATORS = set(words("<= >= < > != * / | \\{ \\} [ ] ( ) : '")) | CURRENCIES
_INVISIBLE = set(
    words(
        "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr middle displaystyle textstyle scriptstyle "
        "limits nolimits quad qquad mathstrut strut rm bf it thinspace medspace enspace hfill hspace vspace tiny "
        "small normalsize large Large LARGE huge Huge"
    )
)
_TEXT = set(
    words(
        "text mbox textbf textit textrm textsf texttt textnormal mathrm mathbf mathit mathsf mathtt hbox operatorname "
        "boldsymbol bm mathnormal"
    )
)
_UNWRAPPED = {"underline", "boxed", "fbox", "ensuremath", "mathop", "mathbin"}
_LOOK_ONLY = {"\\,", "\\;", "\\:", "\\!", "\\ ", "\\/", "\\(", "\\)", "\\[", "\\]", "~", "$", "\\-"}
# Content that is not drawn as it is written: what a reader sees is not what a grader reads, so nothing is read.
_HIDING = set(
    words(
        "phantom hphantom vphantom color textcolor cancel bcancel xcancel sout not tag href smash mathclap rlap llap "
        "raisebox def newcommand renewcommand let"
    )
)
FUNCTIONS = words(
    "arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth sin cos tan cot sec csc ln log lg exp gcd lcm "
    "max min"
)
_WORDS = {
    "sqrt": "sqrt",
    "pi": "pi",
    "infty": "infty",
    "infinity": "infty",
    "inf": "infty",
    "oo": "infty",
    "cup": "cup",
} | {name: name for name in FUNCTIONS}

_GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_MARKED = "À-ÖØ-öø-ɏЀ-ӿ"
"""Letters of the languages that are written in Latin with marks, or in Cyrillic."""
_LEXER_PARTS = (
    r"\s+|\\begin\s*\{(?P<begin>[a-z]+)\*?\}(?:\s*\{[lcr|\s]*\})?|\\end\s*\{(?P<end>[a-z]+)\*?\}"
    r"|\\(?P<command>[A-Za-z]+)|\\."
    r"|(?P<number>\d+\.\d*\x00\d+|\d+(?:\.\d+)?|\.\d+)|(?P<half_day>(?<=[\d\s~}])[ap]\.\s?m\.?(?![A-Za-z]))|",
    rf"(?P<foreign>[぀-ヿ㐀-鿿가-힯]+|[A-Za-z]*[{_MARKED}][A-Za-z{_MARKED}]*)|",
    r"(?P<word>[A-Za-z]+)|<=|>=|!=|\*\*|(?P<other>.)",
)
_LEXER = re.compile("".join(_LEXER_PARTS), re.DOTALL)
_ASCII_LEXER = re.compile("".join((_LEXER_PARTS[0], r"(?P<foreign>(?!))|", _LEXER_PARTS[2])), re.DOTALL)
"""The same where no foreign letter can be; most answers are read by it, and faster."""


@lru_cache(maxsize=4096)
def tokens_of(text: str) -> tuple[Token, ...]:
    r"""The tokens of one answer.

    Example:
        tokens_of(r"\tfrac 12") == (Token("command", "frac"), Token("number", "12"))
    """
    text = plain_numbers(ascii_latex(text))
    tokens: list[Token] = []
    position = 0
    lexer = _ASCII_LEXER if text.isascii() else _LEXER
    while position < len(text):
        match = lexer.match(text, position)
        assert match is not None  # the last alternative takes any character
        position = match.end()
        kind = match.lastgroup
        if kind == "command":
            position = _command(match["command"], text, position, tokens)
        elif kind == "number":
            tokens.append(Token("number", match["number"]))
        elif kind == "word":
            tokens.extend(_word(match["word"]))
        elif kind in ("foreign", "half_day"):
            tokens.append(Token("text", match[kind]))
        elif kind in ("begin", "end"):
            tokens.append(Token(kind, match[kind]))
        else:
            symbol = match.group()
            if symbol.strip() and symbol not in _LOOK_ONLY:
                tokens.append(
                    Token(
                        "operator", {"**": "^", "\\$": "dollar", "\\%": "%", "\\|": "|", "\\&": "&"}.get(symbol, symbol)
                    )
                )
    return tuple(tokens)


def _command(name: str, text: str, position: int, tokens: list[Token]) -> int:
    """Appends the tokens of one command; returns where reading goes on."""
    if name in _HIDING:
        raise Unreadable(f"\\{name} hides or changes what is drawn")
    if name in _INVISIBLE:
        return position
    if name in ("mathbb", "mathds", "Bbb"):
        match = re.compile(r"\s*\{?\s*([A-Z])\s*\}?").match(text, position)
        tokens.append(Token("command", "mathbb" + (match[1] if match else "")))
        return match.end() if match else position
    if name in _TEXT or name in _UNWRAPPED:
        content, position = _argument(text, position)
        tokens.extend(tokens_of(content) if name in _UNWRAPPED else _text(name, content))
        return position
    for prefix in ("mbox", "text", "qquad", "quad", *FUNCTIONS):  # \mboxcm and \cotx: the space was lost
        if name.startswith(prefix) and name not in FUNCTIONS and name not in _SYNONYMS and name not in _KNOWN:
            rest = name[len(prefix) :]
            if prefix in _TEXT:
                tokens.append(Token("text", rest))
            else:
                tokens.extend([*([] if prefix in _INVISIBLE else [Token("command", prefix)]), *_word(rest)])
            return position
    name = _SYNONYMS.get(name, name)
    tokens.append(Token("operator" if name in _OPERATORS else "command", name))
    return position


_KNOWN = {
    "max",
    "min",
    "minus",
    "textcirc",
    "textdegree",
    "sinc",
    "secant",
    "maxima",
    "minima",
    "logical",
    "limsup",
    "exp",
    "textdollar",
}


def _argument(text: str, position: int) -> tuple[str, int]:
    while position < len(text) and text[position].isspace():
        position += 1
    if text[position : position + 1] != "{":
        if text[position : position + 1] == "\\":
            match = re.compile(r"\\[A-Za-z]+").match(text, position)
            return (match.group(), match.end()) if match else ("", position)
        return text[position : position + 1], position + 1
    depth = 0
    for index in range(position, len(text)):
        if text[index - 1] == "\\" and index > position:
            continue
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[position + 1 : index], index + 1
    raise Unreadable("a brace is never closed")


def _text(command: str, content: str) -> list[Token]:
    """`\\text{...}`: a formula in upright type is still a formula; words stay words."""
    stripped = content.strip().strip("{}").strip()
    if _GROUPED.fullmatch(stripped):
        return [Token("number", stripped.replace(",", ""))]
    if (stripped in FUNCTIONS and stripped not in ("min", "sec")) or stripped in ("sqrt", "pi"):
        return [Token("command", stripped)]
    if not stripped:
        return []
    if not re.search(r"[A-Za-z]", stripped) or command in ("boldsymbol", "bm"):
        if re.search(r"[\w\\]", stripped):
            return list(tokens_of(content))
        return [Token("text", content)] if stripped.strip(" .,;:") else []
    if command in ("mathrm", "mathbf", "mathit", "mathnormal", "operatorname") and stripped in ("e", "i", "d"):
        return [Token("letter", stripped)]
    if "\\" in stripped or "$" in stripped or re.search(r"[=<>^]", stripped):
        return list(tokens_of(stripped.replace("$", "")))
    counted = re.fullmatch(r"\s*(-?\d[\d.,:/]*)\s*([^\W\d_].*)", content, re.DOTALL)  # \text{5 cm}
    if counted and not re.search(r"\d", counted[2]):
        return [*tokens_of(counted[1]), *_text(command, counted[2])]
    trailing = re.fullmatch(r"(.*\w.*\W)(and|or)\s*", content, re.DOTALL)  # \text{ goats and } 4 \text{ helicopters}
    return [Token("text", trailing[1]), Token("text", trailing[2])] if trailing else [Token("text", content)]


def _word(word: str) -> list[Token]:
    """Bare letters: known names become commands, connecting and longer words text, the rest a product of variables."""
    if word in _WORDS:
        return [Token("command", _WORDS[word])]
    if word.lower() in ("and", "or", "percent", "pct", "percentage"):
        return [Token("text", word)]
    for name in ("sqrt", "pi"):  # 2pi is read as number and word, but xpi or pir arrive as one word
        if word.startswith(name) and len(word) == len(name) + 1:
            return [Token("command", name), Token("letter", word[-1])]
        if word.endswith(name) and len(word) == len(name) + 1:
            return [Token("letter", word[0]), Token("command", name)]
    if len(word) >= 3:
        for connector in ("or", "and"):
            if word.lower() == connector:
                return [Token("text", word)]
        if is_word(word):
            return [Token("text", word)]
    return [Token("letter", letter) for letter in word]


def is_word(letters: str) -> bool:
    """Whether three or more bare letters are a word (`east`, `odd`) and not a product of variables (`abc`, `xyz`).

    A product is written in alphabetical order or has no vowel in it; a word seldom does either.
    """
    lower = letters.lower()
    ascending = all(first < second for first, second in pairwise(lower))
    return len(letters) >= 3 and not ascending and any(vowel in lower for vowel in "aeiouy")
