"""One place renders prompts, and it renders what `transformers` would: the same text, the same ids."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.tokenizer_making import END, PAD, START, save_bpe_tokenizer, save_character_tokenizer
from reasoning_pipeline.errors import DataError
from tests.bench import PROJECT

TEXTS = ["What is the smallest prime above 20? <think> </think>", "Answer: \\boxed{23}, naïve ¿√2?"] * 4

# Written after Qwen3's: tools, a namespace carried out of a loop over reversed messages, slices, `is string`, tojson.
QWEN_LIKE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' + messages[0].content + '\\n# Tools' }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- generation %}{{- message.content.split('</think>')[-1].lstrip('\\n') }}{%- endgeneration %}
    {%- endif %}
{%- endfor %}
{{- {'last': ns.last_query_index, 'é': '<&>'} | tojson }}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
{{- eos_token }}{{ pad_token }}{{ bos_token }}{{ unk_token }}
"""

# Blocks on lines of their own: their blanks and line ends must leave no trace.
PLAIN = """\
{{ bos_token }}{% for m in messages %}
    {% if m.content %}
{{ m.role }}: {{ m.content }}
    {% endif %}
{% endfor %}
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tokenizers")
    save_character_tokenizer(root / "characters")
    save_bpe_tokenizer(root / "chatml", TEXTS, 320)
    save_bpe_tokenizer(root / "qwen", TEXTS, 320)
    (root / "qwen" / "chat_template.jinja").write_text(QWEN_LIKE)
    settings(root / "qwen", unk_token=PAD)
    save_bpe_tokenizer(root / "llama", TEXTS, 320)
    add_bos(root / "llama")
    return {path.name: path for path in root.iterdir()}


def settings(folder: Path, **changes: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def add_bos(folder: Path) -> None:
    """A tokenizer that puts its BOS before everything it encodes, and a template that writes it too (Llama's way)."""
    from tokenizers import Tokenizer, processors

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, tokenizer.token_to_id(START))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(PLAIN)
    flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
    settings(folder, bos_token={"__type": "AddedToken", "content": START, "special": True, **flags})


def renderer(folder: Path, **config: Any) -> PromptRenderer:
    return PromptRenderer.from_folder(folder, PromptConfig(**config))


# --- against transformers --------------------------------------------------------------------------------------------

CONFIGS = [
    {},
    {"suffix": "\n\nPut your final answer within \\boxed{}."},
    {"system": "You are terse.", "thinking": True},
]


@pytest.mark.slow  # importing transformers takes seconds
@pytest.mark.parametrize("config", CONFIGS, ids=["plain", "suffix", "system and thinking"])
@pytest.mark.parametrize("kind", ["characters", "chatml", "qwen", "llama"])
def test_text_and_ids_are_those_of_transformers(folders: dict[str, Path], kind: str, config: dict[str, Any]):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folders[kind], local_files_only=True)
    ours = renderer(folders[kind], **config)
    for question in ("3+5*2-1+4", 'Let $x$ be\n  naïve: <|im_end|> & "quoted"?', " "):
        messages = [{"role": "user", "content": question + ours.config.suffix}]
        if ours.config.system is not None:
            messages.insert(0, {"role": "system", "content": ours.config.system})
        options = {"add_generation_prompt": True, "enable_thinking": ours.config.thinking}
        assert ours.prompt(question) == theirs.apply_chat_template(messages, tokenize=False, **options)
        ids = theirs.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
        assert ours.prompt_ids(question) == ids
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_the_template_made_for_the_comparison_uses_what_it_says(folders: dict[str, Path]):
    text = renderer(folders["qwen"], thinking=False).prompt("Hi")
    assert text == (
        '<|im_start|>user\nHi<|im_end|>\n{"last": 0, "é": "<&>"}<|im_start|>assistant\n<think>\n\n</think>\n\n'
        f"{END}{PAD}{PAD}"
    )
    assert "<think>" not in renderer(folders["qwen"], thinking=True).prompt("Hi")


# --- the two tokenizers made here ------------------------------------------------------------------------------------


def test_an_arithmetic_prompt_has_one_length_and_one_start(folders: dict[str, Path]):
    ours = renderer(folders["characters"])
    lengths = {len(ours.prompt_ids(question)) for question in ("3+5", "3+5*2-1+4", "9*5*5*5*5*5*5")}
    assert lengths == {1 + 13 + 1}  # start, padded expression, newline
    assert ours.tokenizer.get_vocab_size() == 99  # 95 printable, newline, three special
    assert ours.decode(ours.tokenizer.encode("8;6;\\boxed{6}").ids) == "8;6;\\boxed{6}"


def test_bpe_keeps_every_text_and_its_size(folders: dict[str, Path], tmp_path: Path):
    ours = renderer(folders["chatml"])
    for text in ("naïve ¿√2?", " two  blanks", "\\frac{3}{4}\n"):
        assert ours.decode(ours.tokenizer.encode(text).ids) == text
    assert 259 <= save_bpe_tokenizer(tmp_path, TEXTS, 300) <= 300  # 256 bytes and three special tokens at least


def test_special_tokens_are_written_once(folders: dict[str, Path]):
    start = renderer(folders["llama"]).tokenizer.token_to_id(START)
    ids = renderer(folders["llama"]).prompt_ids("Hi")
    assert ids[0] == start and ids.count(start) == 1
    # as the tokenizer would do by itself: a second one
    ours = renderer(folders["llama"])
    assert ours.tokenizer.encode(ours.prompt("Hi")).ids.count(start) == 2


def test_what_an_end_token_is(folders: dict[str, Path], tmp_path: Path):
    ours = renderer(folders["chatml"])
    end = ours.tokenizer.token_to_id(END)
    assert ours.stop_ids == [end]
    for declared, expected in ((7, [end, 7]), ([0, 7, end], [0, end, 7]), (None, [end])):
        save_bpe_tokenizer(tmp_path, TEXTS, 320)
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": declared}))
        assert renderer(tmp_path).stop_ids == sorted(expected)
    settings(tmp_path, eos_token=None)
    with pytest.raises(DataError, match="no end token") as error:
        _ = renderer(tmp_path).stop_ids
    assert "set eos_token in tokenizer_config.json" in str(error.value.remedy)


def test_a_tokenizer_saved_with_truncation_does_not_cut_prompts(folders: dict[str, Path], tmp_path: Path):
    from tokenizers import Tokenizer

    save_bpe_tokenizer(tmp_path, TEXTS, 320)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    question = "What is the smallest prime above 20? " * 4
    assert renderer(tmp_path).prompt_ids(question) == renderer(folders["chatml"]).prompt_ids(question)


def test_digests_tell_tokenizer_and_template_apart(folders: dict[str, Path]):
    chatml, qwen = renderer(folders["chatml"]).digests, renderer(folders["qwen"]).digests
    assert chatml["tokenizer"] == qwen["tokenizer"] and chatml["chat_template"] != qwen["chat_template"]


# --- where the template comes from, and what it may not do -----------------------------------------------------------


def test_the_file_goes_before_the_field_and_the_default_before_the_rest(tmp_path: Path):
    save_character_tokenizer(tmp_path)
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "field"}]
    settings(tmp_path, chat_template=named)
    (tmp_path / "chat_template.jinja").write_text("file")
    assert renderer(tmp_path).prompt("x") == "file"
    (tmp_path / "chat_template.jinja").unlink()
    assert renderer(tmp_path).prompt("x") == "field"
    settings(tmp_path, chat_template="{{ messages[0].content }}")
    assert renderer(tmp_path).prompt("x") == "x"
    settings(tmp_path, chat_template=None)
    with pytest.raises(DataError) as error:
        renderer(tmp_path)
    assert error.value.message == f"{tmp_path}: the tokenizer has no chat template"
    assert "put a chat_template.jinja beside tokenizer.json" in str(error.value.remedy)


def with_template(folder: Path, template: str) -> Path:
    save_character_tokenizer(folder)
    (folder / "chat_template.jinja").write_text(template)
    return folder


ATTACKS = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ messages.__class__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ messages.append(messages[0]) }}",
    "{{ messages[0].update(content='other') }}",
    "{{ '{0.__class__}'.format(messages) }}",
    "{{ ''['__class__'] }}",
    "{{ (messages | map(attribute='__class__') | list)[0] }}",
]


@pytest.mark.parametrize("template", ATTACKS)
def test_a_template_from_a_stranger_reaches_no_python(tmp_path: Path, template: str):
    try:
        text = renderer(with_template(tmp_path, template)).prompt("hello")
    except DataError as error:
        assert "the chat template cannot be used: " in error.message
    else:
        assert text == ""  # some filters answer with nothing where others refuse


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% if %}", "Expected an expression"),
        ("{% for m in messages %}", "Unexpected end of template"),
        ("{{ raise_exception('no system prompt, please') }}", "no system prompt, please"),
        ("{{ messages[0].content + 1 }}", "can only concatenate str"),
    ],
)
def test_a_template_that_fails_says_why(tmp_path: Path, template: str, reason: str):
    with pytest.raises(DataError, match="the chat template cannot be used: ") as error:
        renderer(with_template(tmp_path, template)).prompt("hello")
    assert reason in error.value.message and str(tmp_path) in error.value.message


def test_a_folder_without_a_usable_tokenizer(tmp_path: Path):
    with_template(tmp_path, "{{ messages[0].content }}")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json: not a tokenizer"):
        renderer(tmp_path).prompt_ids("x")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"no tokenizer\.json"):
        renderer(tmp_path).prompt_ids("x")


def test_no_other_module_applies_a_template_or_renders_one():
    own = PROJECT / "reasoning_pipeline" / "data" / "prompts.py"
    for path in (PROJECT / "reasoning_pipeline").rglob("*.py"):
        assert path == own or "apply_chat_template(" not in path.read_text(encoding="utf-8"), path


def test_a_template_that_asks_for_todays_date_gives_the_same_prompt_every_day(tmp_path: Path):
    template = "{{ strftime_now('%d %b %Y %H:%M') }} {{ messages[-1]['content'] }}"
    for name, text in (("dated", template), ("plain", "{{ messages[-1]['content'] }}")):
        save_character_tokenizer(tmp_path / name)
        (tmp_path / name / "chat_template.jinja").write_text(text)
    dated, plain = (PromptRenderer.from_folder(tmp_path / name) for name in ("dated", "plain"))
    assert dated.prompt("1+1?") == "26 Jul 2024 00:00 1+1?" and dated.asks_for_the_date
    assert not plain.asks_for_the_date
    assert plain.digests["chat_template"] == hashlib.sha256(plain.chat_template.encode()).hexdigest()
    told = f"{template}\n2024-07-26"
    assert dated.digests["chat_template"] == hashlib.sha256(told.encode()).hexdigest(), "the date is part of it"
