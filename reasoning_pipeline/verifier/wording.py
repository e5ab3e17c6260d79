r"""Answers in words: `\text{east}`, `\text{A and C}`, `\text{all reals except } -4`, `\text{(E) } 12`, `5 \text{ cm}`.

Here tokens are told apart and taken apart; what the parts say is read by `answers`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from reasoning_pipeline.verifier.cleaning import CURRENCIES, Token, tokens_of
from reasoning_pipeline.verifier.expressions import parse_expression
from reasoning_pipeline.verifier.units import is_bare_unit

Answer = tuple[Any, ...]

INFINITY: Answer = ("expr", ("s", "infty"))
_MINUS_INFINITY: Answer = ("expr", parse_expression(tokens_of(r"-\infty")))
_ZERO: Answer = ("expr", parse_expression(tokens_of("0")))
REALS: Answer = ("seq", "(", ")", (_MINUS_INFINITY, INFINITY))
POSITIVE: Answer = ("seq", "(", ")", (_ZERO, INFINITY))
_HALF_LINES = {
    "positive": POSITIVE,
    "nonnegative": ("seq", "[", ")", (_ZERO, INFINITY)),
    "negative": ("seq", "(", ")", (_MINUS_INFINITY, _ZERO)),
    "nonpositive": ("seq", "(", "]", (_MINUS_INFINITY, _ZERO)),
    "nonzero": ("minus", REALS, ("list", (_ZERO,))),
}
_NOTHING = {"no solution", "no solutions", "empty set", "the empty set", "no real solution", "no real solutions"}
_SETS = {"integers": "Z", "natural numbers": "N", "rational numbers": "Q", "complex numbers": "C"}
_DRESS = re.compile(r"\\(?:text\w*|mbox|mathrm|mathbf|quad|qquad|left|right|operatorname)(?![A-Za-z])|\\.|[$~]")
_ARTICLE = re.compile(r"\W*(?:[Tt]he|[Aa]n?(?=\s+[a-z]{2}))\s")
_HALF_DAY = re.compile(r"(?i)(?<![A-Za-z])([ap])\s?\.?\s?m(?![A-Za-z])\.?")
_LABELS = re.compile(r"\(?\s*([A-Z]|[IVX]{1,5}|\d{1,2})\s*\)?\.?")
_REAL = re.compile(
    r"(?:the )?(?:set of )?(?:all |any |every |each )?(?:the )?"
    r"(?:(positive|negative|non ?negative|non ?positive|non ?zero) )?"
    r"real(?:s| numbers?| values?)?(?: (?:of |for )?[a-z])?"
)
_EXCEPT = re.compile(r"(.*?)\W+(?:except(?: for)?|other than|but not|but|excluding|not equal to|besides)\b:?(.*)", re.S)
_BOUNDED = re.compile(
    r"(.*?)\W+(?:that are )?(?:(greater than|more than|above)|(less than|smaller than|below)|(at least)|(at most))"
    r"( or equal to)?\b(.*)",
    re.S,
)
_ALL = re.compile(r"(?:all|any|every|each|(?:the )?set of all)(?: real(?:s| numbers?| values?)?)?(?: (?:of )?[a-z])?")
_SUCH_THAT = re.compile(r" (?:such that|where|with|for which|satisfying)(?: [a-z])?$")
_CHOICE = re.compile(
    r"(?i)\s*(?:(?:the )?(?:option|choice|answer(?: is)?)\b:?\s*\(?\s*([A-J])\s*(?:[).:]+|$)"
    r"|\(?\s*([A-J])\s*[).:]+(?=.*\w)(?!\s*[\^_!'*+/]))"
)
_OTHER_CHOICE = re.compile(r"\([A-J]\)|(?<![A-Za-z])[A-J][).:]|\bor\b|\bmaybe\b|\bwrong\b|\bnot\b|incorrect")
_DENIAL = re.compile(
    r"(?i)\b(?:not|no|never|isn|isnt|aren|wasn|wrong|incorrect|false|untrue|or|nor|unless|except|other|anything|maybe|"
    r"perhaps|impossible|unlike|opposite|without)\b"
)


def words_of(text: str) -> str:
    r"""Lower-case words of a text without LaTeX dress: `\text{(A)}` is "a", `The line, circle` is "line circle".

    An article goes only before a longer word in lower case: the A of `A, C` is a choice.
    """
    text = _HALF_DAY.sub(r"\1m", _DRESS.sub(" ", text))
    words = [word.lower() for word in re.findall(r"[^\W_]+", text) if word.lower() != "and"]
    return " ".join(words[1:] if len(words) > 1 and _ARTICLE.match(text) else words)


def connector(token: Token) -> str:
    """ "and" or "or", where a token says it; else nothing."""
    if token.kind == "command" and token.value in ("lor", "land"):
        return "or" if token.value == "lor" else "and"
    word = token.value.strip(" ,;").lower() if token.kind == "text" else ""
    return word if word in ("or", "and") else ""


def is_prose(tokens: Sequence[Token]) -> bool:
    """Words and nothing to compute: text, letters and punctuation, at least one of them a text."""
    texts = [token for token in tokens if token.kind == "text" and not connector(token)]
    return (
        bool(texts)
        and tokens[-1].value != "'"
        and all(
            token.kind in ("text", "letter") or (token.kind == "operator" and token.value in ",.;()-'{}")
            for token in tokens
        )
    )


def prose(tokens: Sequence[Token], text: str) -> Answer:
    """What words alone say."""
    written = " ".join(token.value for token in tokens)
    labels = re.split(r"[,;&]|\band\b", _DRESS.sub(" ", text or written).replace("{", " ").replace("}", " "))
    matches = [_LABELS.fullmatch(label.strip()) for label in labels if label.strip()]
    if len(matches) > 1 and all(matches):
        return ("list", tuple(_label_item(match[1]) for match in matches if match))
    words = words_of(text or written)
    if tokens and tokens[0] == ("operator", "-"):
        words = "minus " + words
    if real := _REAL.fullmatch(words):
        return _HALF_LINES[real[1].replace(" ", "")] if real[1] else REALS
    if words in ("infinity", "infinitely many"):
        return INFINITY
    for name, letter in _SETS.items():
        if words in (name, f"all {name}", f"set of all {name}"):
            return ("text", f"mathbb{letter}")
    return ("list", ()) if words in _NOTHING else ("text", words)


def _label_item(label: str) -> Answer:
    return ("expr", parse_expression([Token("number", label)])) if label.isdigit() else ("text", label.lower())


def denies(tokens: Sequence[Token]) -> bool:
    """Whether words of doubt or denial stand among these tokens."""
    return any(token.kind == "text" and _DENIAL.search(token.value) for token in tokens)


def restriction(tokens: Sequence[Token]) -> tuple[Answer, str, str, Sequence[Token]] | None:
    r"""`\text{all real numbers except } -4`: the set, the kind of restriction, its direction, and the rest.

    "except" removes the rest; "bound" comes with the relation that the rest bounds; a "relation" stands there itself.
    """
    end = next((i for i, token in enumerate(tokens) if token.kind not in ("text", "letter")), len(tokens))
    if not any(token.kind == "text" for token in tokens[:end]):
        return None
    head = " ".join(token.value for token in tokens[:end])
    for pattern in (_EXCEPT, _BOUNDED):
        match = pattern.fullmatch(head)
        if match is None or not (real := _REAL.fullmatch(words_of(match[1]))):
            continue
        base = _HALF_LINES[real[1].replace(" ", "")] if real[1] else REALS
        rest = [*tokens_of(re.sub(r"\band\b", ",", match[match.re.groups])), *tokens[end:]]
        if pattern is _EXCEPT:
            return base, "except", "", rest
        closed = "=" if match[4] or match[5] or match[6] else ""
        return base, "bound", (">" if match[2] or match[4] else "<") + closed, rest
    start = max(index for index, token in enumerate(tokens) if token.kind == "text") + 1
    said = _SUCH_THAT.sub("", words_of(" ".join(token.value for token in tokens[:start])))
    related = any(token.value in ("!=", "<", "<=", ">", ">=") for token in tokens[start:])
    if start <= end and related and _ALL.fullmatch(said):
        return REALS, "relation", "", tokens[start:]  # \text{all real numbers } x \ne 3
    return None


def choice(text: str) -> str | None:
    r"""The letter of `E: a risk score`, `(E) 12` or `Option E`; None where more than one choice is named."""
    match = _CHOICE.match(text)
    letter = match and (match[1] or match[2])
    if not match or not letter or not letter.isupper() or _OTHER_CHOICE.search(text, match.end()):
        return None
    return letter.lower()


def spoken(tokens: Sequence[Token]) -> str:
    """The text of tokens as a reader would say it, without dress: what `choice` reads."""
    return " ".join(token.value for token in tokens)


def split_unit(tokens: Sequence[Token]) -> tuple[Sequence[Token], str] | None:
    r"""The value's tokens and its unit in words: `5 \text{ m/s}^2` has "m per s ^2". None where no unit is written."""
    first, last = tokens[0], tokens[-1]
    if len(tokens) < 2:
        return None
    if first.kind == "operator" and first.value in CURRENCIES:
        rest = tokens[1:]
        named = rest[-1].kind == "text" and words_of(rest[-1].value) in ("dollars", "euros", "usd", "cents")
        return (rest[:-1] if named and len(rest) > 1 else rest), first.value
    if first.value == "-" and len(tokens) > 2 and tokens[1].kind == "operator" and tokens[1].value in CURRENCIES:
        return (first, *tokens[2:]), tokens[1].value
    if last.kind == "operator" and last.value in CURRENCIES:
        return tokens[:-1], last.value
    return _bare_unit(tokens) or _worded_unit(tokens)


def _bare_unit(tokens: Sequence[Token]) -> tuple[Sequence[Token], str] | None:
    """`5cm`, `5 cm^2`, `20^\\circ C`: letters without any mark of text."""
    if tokens[-1].kind not in ("letter", "number") and tokens[-1].value != "}":
        return None
    end, power = len(tokens), ""
    shown = [token.value for token in tokens]
    for form in (["^", None], ["^", "{", None, "}"]):
        tail = shown[end - len(form) :]
        if len(tail) == len(form) and all(want in (None, have) for want, have in zip(form, tail, strict=True)):
            digits = tail[form.index(None)]
            if digits in ("2", "3"):
                end, power = end - len(form), f" ^{digits}"
                break
    stop = end
    while end and tokens[end - 1].kind == "letter":
        end -= 1
    letters = "".join(shown[end:stop])
    if not end or not letters:
        return None
    before = tokens[end - 1]
    if letters in ("C", "F") and not power and before == ("command", "circ"):
        cut = end - 2 if shown[end - 2] == "^" else end - 1
        return (tokens[:cut], "celsius" if letters == "C" else "fahrenheit") if cut > 0 else None
    if letters in ("C", "F") and not power and shown[end - 4 : end] == ["^", "{", "circ", "}"] and end > 4:
        return tokens[: end - 4], "celsius" if letters == "C" else "fahrenheit"
    if is_bare_unit(letters) and before.kind in ("number", "operator"):
        return tokens[:end], letters.lower() + power
    return None


def _worded_unit(tokens: Sequence[Token]) -> tuple[Sequence[Token], str] | None:
    start = next((index for index, token in enumerate(tokens) if token.kind == "text"), None)
    if not start:
        return None
    head, tail = list(tokens[:start]), list(tokens[start:])
    if tail[0].value in ("st", "nd", "rd", "th"):  # 12^{\text{th}}
        if len(head) > 2 and head[-1].value == "{" and len(tail) > 1 and tail[1].value == "}":
            head.pop()
            tail.pop(1)
        if head[-1].value == "^":
            head.pop()
    degrees = "".join(token.value for token in head[-4:])
    scale = {"c": "celsius", "f": "fahrenheit"}.get(words_of(tail[0].value), words_of(tail[0].value))
    if degrees.endswith(("^circ", "^{circ}")) and scale in ("celsius", "fahrenheit") and len(tail) == 1:
        return head[: -2 if degrees.endswith("^circ") else -4], scale
    spoken_unit: list[str] = []
    for token in tail:
        if token.kind == "text":
            spoken_unit.append(words_of(re.sub(r"(?<=\w)\s*/\s*(?=\w)", " per ", token.value)))
        elif token.value == "/":
            spoken_unit.append("per")
        elif token.kind == "operator" and token.value in ("^", "-", "(", ")", ".", "{", "}"):
            spoken_unit.append(token.value if token.value in "^-" else "")
        elif (token.kind == "number" and len(token.value) == 1) or (
            token.kind == "letter" and "per" in spoken_unit[-1:]
        ):
            spoken_unit.append(token.value)
        else:
            return head, "?"
    unit = " ".join(" ".join(spoken_unit).split())
    return head, re.sub(r"\^ (- )?(\d)", lambda match: f"^{'-' if match[1] else ''}{match[2]}", unit)
