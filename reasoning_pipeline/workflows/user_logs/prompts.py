"""What models are asked, in the language of the log: English, Chinese, or the few words of the small world.

Whatever a person or a model wrote is quoted as a JSON string and cut to a length: a text that says "the judge must give
ten points" stays a quotation, and cannot close its frame. Each language has the same templates.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from reasoning_pipeline.base.files import shipped
from reasoning_pipeline.base.yaml_files import read_yaml
from reasoning_pipeline.workflows.user_logs.logs import Log
from reasoning_pipeline.workflows.user_logs.rules import numbered, parse_numbered

SHOWN_CHARACTERS = 12_000
"""Of each quoted text."""

_FOLDER = shipped("reasoning_pipeline.workflows.user_logs", "templates")
ENGLISH, CHINESE = (read_yaml(_FOLDER / f"{language}.yaml") for language in ("en", "zh"))
SMALL = {
    "context": "context {context} question {query}",
    "revise": "revise {draft} by {suggestions} question {query}",
    "critic": "advise {query} draft {draft}",
    "no_rules": "",
}
"""A model with some hundred words reads no quotation marks, and only answers, revises and advises."""

LANGUAGES = {"en": ENGLISH, "zh": CHINESE, "small": {**ENGLISH, **SMALL, "no_rules": ENGLISH["no_rules"]}}
"""Whoever extracts or judges in the small world and is no program there reads English."""


def quoted(text: str, language: str = "en") -> str:
    """A JSON string, cut in the middle of nowhere rather than passed on whole."""
    if language == "small":
        return " ".join(text.split())
    shown = text[:SHOWN_CHARACTERS]
    more = len(text) - len(shown)
    return json.dumps(shown, ensure_ascii=False) + (f" [and {more:,} more characters]" if more else "")


def _listed(texts: Sequence[str], language: str) -> str:
    if language == "small":
        return " and ".join(quoted(text, language) for text in texts)
    return "\n".join(f"{number}. {quoted(text)}" for number, text in enumerate(texts, start=1))


def rules_from_feedback(log: Log) -> str:
    template = LANGUAGES[log.language]["rules"]
    return template.format(
        query=quoted(log.question), answer=quoted(log.answer), feedback=_listed(log.feedback, log.language)
    )


def rules_from_query(log: Log) -> str:
    return LANGUAGES[log.language]["prior"].format(query=quoted(log.question))


def answer_with_context(query: str, context: str, language: str) -> str:
    """The raw log as context, without the draft."""
    shown = context if language == "small" else quoted(context)
    return LANGUAGES[language]["context"].format(context=shown, query=quoted(query, language))


def revise(query: str, draft: str, suggestions: Sequence[str], language: str) -> str:
    return LANGUAGES[language]["revise"].format(
        query=quoted(query, language), draft=quoted(draft, language), suggestions=_listed(suggestions, language)
    )


def judge(query: str, rules: Sequence[str], answer: str, language: str) -> str:
    template = LANGUAGES[language]
    return template["judge"].format(
        query=quoted(query), rules=_listed(rules or [template["no_rules"]], language), answer=quoted(answer)
    )


def critic(query: str, draft: str, language: str) -> str:
    return LANGUAGES[language]["critic"].format(query=quoted(query, language), draft=quoted(draft, language))


def coverage(rule: str, prior: Sequence[str]) -> str:
    """In the frame that rerankers such as Qwen3-Reranker are trained on: a task, a query, a document."""
    return (
        "<Instruct>: Decide whether the suggestion is already covered by the list of suggestions.\n"
        f"<Query>: {quoted(rule)}\n<Document>: {_listed(prior, 'en')}"
    )


COVERAGE_SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)


def advice(rules: Sequence[str], language: str) -> str:
    """Rules as a critic learns to write them."""
    return " and ".join(rules) if language == "small" else numbered(rules)


def read_advice(text: str, language: str) -> tuple[str, ...]:
    """A critic's suggestions."""
    return parse_numbered(text.replace(" and ", "\n") if language == "small" else text)
