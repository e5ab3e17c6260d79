"""From a question to prompt ids. The only place where a chat template is applied or an answer is decoded.

Needs `tokenizers` and `jinja2`, not transformers: evaluations and the rollout client start without torch. A test
holds `PromptRenderer` against `transformers`' own `apply_chat_template`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem

TEMPLATE_DATE = date(2024, 7, 26)
"""What a chat template that asks for today's date is told, so that prompts do not change from day to day: the date that
Llama 3's template itself falls back on. Part of such a template's digest."""
DATE_FUNCTION = "strftime_now"


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks what an assistant wrote; for a prompt it is just its content."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True)
class PromptRenderer:
    """Renders, encodes and decodes with the tokenizer and chat template in a model's folder.

    Example:
        renderer = PromptRenderer.from_folder("runs/registry/pretrain-1f2e", PromptConfig())
        ids = renderer.prompt_ids("3+5*2-1+4")
    """

    folder: Path
    config: PromptConfig

    @classmethod
    def from_folder(cls, folder: str | Path, config: PromptConfig | None = None) -> PromptRenderer:
        """Raises DataError where the folder has no tokenizer or no chat template."""
        renderer = cls(Path(folder), config or PromptConfig())
        renderer._environment_template  # noqa: B018 - fail here, not at the first question
        return renderer

    @cached_property
    def tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer`."""
        from tokenizers import Tokenizer

        path = self.folder / "tokenizer.json"
        if not path.is_file():
            raise DataError(f"{self.folder}: no tokenizer.json", remedy="save the model's fast tokenizer beside it")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain exceptions
            remedy = "save the model's fast tokenizer again"
            raise DataError(f"{path}: not a tokenizer ({error})", remedy=remedy) from error
        # Settings saved with the tokenizer would cut or pad prompts silently; transformers switches them off too.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _tokenizer_config(self) -> dict[str, Any]:
        path = self.folder / "tokenizer_config.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def chat_template(self) -> str:
        """The Jinja source; `chat_template.jinja` goes before tokenizer_config.json's field, as in transformers."""
        path = self.folder / "chat_template.jinja"
        template = path.read_text(encoding="utf-8") if path.is_file() else self._tokenizer_config.get("chat_template")
        if isinstance(template, list):  # several named templates: the default one
            template = next((entry["template"] for entry in template if entry["name"] == "default"), None)
        if not template:
            raise DataError(
                f"{self.folder}: the tokenizer has no chat template",
                remedy="put a chat_template.jinja beside tokenizer.json; base models rarely bring one",
            )
        return template

    @cached_property
    def _environment_template(self) -> jinja2.Template:
        def raise_exception(message: str) -> None:
            raise jinja2.TemplateError(message)

        def tojson(value: Any, **options: Any) -> str:
            return json.dumps(value, ensure_ascii=options.pop("ensure_ascii", False), **options)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation], undefined=jinja2.Undefined
        )
        environment.filters["tojson"] = tojson
        environment.globals["raise_exception"] = raise_exception
        environment.globals[DATE_FUNCTION] = TEMPLATE_DATE.strftime
        try:
            return environment.from_string(self.chat_template)
        except jinja2.TemplateError as error:
            raise self._unusable_template(error) from error

    def _unusable_template(self, error: Exception) -> DataError:
        return DataError(
            f"{self.folder}: the chat template cannot be used: {error}",
            remedy="mend chat_template.jinja; it may refuse the recipe's `prompt.system`",
        )

    def token_behind_an_answer(self) -> int | None:
        """The token that the template writes behind an assistant's answer: what a model that was trained with it ends
        with. None where it writes ordinary text there, or takes no such conversation."""
        mark = "\u2016"
        turns = [{"role": "user", "content": "1"}, {"role": "assistant", "content": mark}]
        try:
            text = self._environment_template.render(messages=turns, tools=None, **self._special_token_texts)
        except (jinja2.TemplateError, TypeError, ValueError):
            return None
        ids = self.tokenizer.encode(text.rpartition(mark)[2], add_special_tokens=False).ids
        special = {number for number, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        return ids[0] if ids and ids[0] in special else None

    def prompt(self, asked: str | Problem) -> str:
        """The text a policy continues: the chat template over one user turn, or over a problem's own conversation, with
        the generation prompt. A conversation's own system message goes before the recipe's."""
        given = asked.messages if isinstance(asked, Problem) else None
        question = asked.question if isinstance(asked, Problem) else asked
        messages = [dict(message) for message in given or [{"role": "user", "content": question}]]
        messages[-1]["content"] += self.config.suffix
        if self.config.system is not None and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": self.config.system})
        try:
            return self._environment_template.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=True,
                enable_thinking=self.config.thinking,
                **self._special_token_texts,
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise self._unusable_template(error) from error

    def prompt_ids(self, asked: str | Problem) -> list[int]:
        # The template has written every special token it wants; adding more would double Llama's BOS.
        return self.tokenizer.encode(self.prompt(asked), add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text without special tokens, as the verifier reads it."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    @cached_property
    def _special_token_texts(self) -> dict[str, str]:
        """`bos_token`, `eos_token`, … as tokenizer_config.json has them."""
        named = {name: value for name, value in self._tokenizer_config.items() if name.endswith("_token")}
        texts = {name: v.get("content") if isinstance(v, dict) else v for name, v in named.items()}
        return {name: text for name, text in texts.items() if isinstance(text, str)}

    @cached_property
    def stop_ids(self) -> list[int]:
        """Every id that ends a completion: the tokenizer's end token and those of generation_config.json, sorted."""
        ids: set[int] = set()
        eos = self._special_token_texts.get("eos_token")
        if eos is not None and (eos_id := self.tokenizer.token_to_id(eos)) is not None:
            ids.add(eos_id)
        path = self.folder / "generation_config.json"
        if path.is_file():
            declared = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
            ids.update([declared] if isinstance(declared, int) else declared or [])
        if not ids:
            raise DataError(f"{self.folder}: no end token", remedy="set eos_token in tokenizer_config.json")
        return sorted(ids)

    @cached_property
    def asks_for_the_date(self) -> bool:
        """Whether the chat template would write today's date into a prompt."""
        return DATE_FUNCTION in self.chat_template

    @cached_property
    def digests(self) -> dict[str, str]:
        """sha256 of tokenizer and template: part of a step's identity and of every evaluation's record."""
        template = self.chat_template + (f"\n{TEMPLATE_DATE}" if self.asks_for_the_date else "")
        return {
            "tokenizer": hashlib.sha256((self.folder / "tokenizer.json").read_bytes()).hexdigest(),
            "chat_template": hashlib.sha256(template.encode()).hexdigest(),
        }
