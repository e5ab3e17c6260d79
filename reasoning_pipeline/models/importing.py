"""A model from the wild as a plain folder: safetensors, a tokenizer, a chat template, and end tokens that agree.

What is wrong with a checkpoint of somebody's is found here, before anything is trained on it. What a person chose, and
what was changed, stands in the new folder's PROVENANCE.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.files import rename_folder, write_json, write_text
from reasoning_pipeline.base.fingerprint import file_digest
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import IncompatibleModels, RegistryError
from reasoning_pipeline.models.description import CONFIG, GENERATION, declared_ends, read_json
from reasoning_pipeline.models.outside import model_files
from reasoning_pipeline.models.refusals import check_model
from reasoning_pipeline.models.weights import ADAPTER, weight_files

TOKENIZER, TEMPLATE, PROVENANCE = "tokenizer_config.json", "chat_template.jinja", "PROVENANCE.md"
PICKLES = ("*.bin", "*.pt", "*.pth")


@dataclass(frozen=True)
class Choices:
    """What a person decides where the files of a model disagree, or lack something."""

    end_token: str | None = None
    """The token that ends an answer."""
    pad_token: str | None = None
    chat_template: Path | None = None
    """A Jinja file."""
    dtype: str = "float32"
    """Of weights out of a GGUF file, which are stored quantized there; others stay as they are."""


@dataclass
class Imported:
    """What came out, for the person and for PROVENANCE.md."""

    folder: Path
    notes: list[str] = field(default_factory=list)


def import_folder(source: Path, out: Path, choices: Choices, *, said: str) -> Imported:
    """Make `out` from a model folder or a GGUF file.

    Args:
        source: A folder as a hub or a trainer leaves it (resume points too: of those only the model is taken), or a
            file *.gguf.
        out: Must not be there; written aside and renamed.
        said: What the person called the source; goes into PROVENANCE.md.

    Raises:
        RegistryError: Files are missing, cut off or unreadable, or `out` is there.
        IncompatibleModels: A model that could not be trained or asked, or whose end tokens disagree; with the choice.
    """
    if out.exists():
        raise RegistryError(f"{out} is there already", remedy="name a folder that is not, or remove it first")
    aside = out.with_name(f".{out.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        imported = Imported(out)
        if source.suffix == ".gguf":
            imported.notes.append(_from_gguf(source, aside, choices.dtype))
        else:
            _copy(source, aside)
        if choices.chat_template is not None:
            text = choices.chat_template.read_text(encoding="utf-8")
            write_text(aside / TEMPLATE, text)
            imported.notes.append(f"chat template: {choices.chat_template.name}, chosen")
        _require_template(aside)
        imported.notes += [*_set_ends(aside, choices.end_token), *_set_pad(aside, choices.pad_token)]
        check_model(aside)
        _require_finite(aside)
        imported.notes += _widths(aside)
        write_text(aside / PROVENANCE, _provenance(said, source, imported.notes))
        rename_folder(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return imported


def _copy(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise RegistryError(
            f"{source}: no such folder, and no *.gguf file", remedy="name a model folder or a GGUF file"
        )
    if (source / ADAPTER).is_file():
        raise RegistryError(
            f"{source}: an adapter, not a model",
            remedy="merge it first: PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(…)",
        )
    if not any(source.glob("*.safetensors")) and (pickles := [p.name for k in PICKLES for p in source.glob(k)]):
        raise RegistryError(
            f"{source}: weights only as pickles ({', '.join(sorted(pickles)[:3])}), which may hold code: not read",
            remedy="where you trust their author: load them with transformers and save_pretrained, then import that",
        )
    for path in model_files(source):
        shutil.copyfile(path, out / path.name)


def _from_gguf(source: Path, out: Path, dtype: str) -> str:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if not source.is_file():
        raise RegistryError(f"{source}: no such file", remedy="name a model folder or a GGUF file")
    found: dict[str, Any] = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    try:
        config = AutoConfig.from_pretrained(**found, local_files_only=True)
        loaded: Any = AutoModelForCausalLM.from_pretrained(**found, dtype=getattr(torch, dtype), local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(**found, local_files_only=True)
    except ImportError as error:
        raise RegistryError(str(error), remedy="pip install 'reasoning-pipeline[gguf]'") from error
    except Exception as error:  # readers of binary files raise whatever their arithmetic runs into
        raise IncompatibleModels(
            f"{source}: transformers cannot read it: {type(error).__name__}: {error}",
            remedy="a cut-off file is downloaded again; of another architecture take its safetensors from where it "
            "was published",
        ) from error
    kinds = {str(getattr(config, "quantization_config", None) or "")} - {""}
    # A model that was read from a GGUF file counts as quantized and is not saved; one of the same shape is.
    for model in (config, loaded.config):
        if hasattr(model, "quantization_config"):
            del model.quantization_config
    plain: Any = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(out)
    (out / GENERATION).unlink(missing_ok=True)  # the library's own guesses
    tokenizer.save_pretrained(out)
    return f"weights: read from {source.name} as {dtype}{' ' + kinds.pop() if kinds else ''}"


def _require_template(folder: Path) -> None:
    if not (folder / TEMPLATE).is_file() and not read_json(folder / TOKENIZER).get("chat_template"):
        raise IncompatibleModels(
            f"{folder.name.removeprefix('.').removesuffix('.aside')}: its tokenizer has no chat template",
            remedy="base models rarely bring one; supply one with --chat-template FILE.jinja",
        )


def _set_ends(folder: Path, chosen: str | None) -> Iterator[str]:
    """Have config.json, generation_config.json, tokenizer and template agree on what ends an answer."""
    renderer = PromptRenderer.from_folder(folder)
    if chosen is not None:
        number = renderer.tokenizer.token_to_id(chosen)
        if number is None:
            raise IncompatibleModels(f"--end-token {chosen!r} is no token of this model", remedy=_said(renderer))
        before = _said(renderer)
        _write(folder / TOKENIZER, {"eos_token": chosen, "eos_token_id": number}, only=("eos_token_id",))
        _write(folder / CONFIG, {"eos_token_id": number})
        if (folder / GENERATION).is_file():
            _write(folder / GENERATION, {"eos_token_id": number})
        yield f"end token: {chosen} ({number}), chosen; its files said {before}"
        return
    ends = _ends(renderer)
    written, stops = ends["chat template"], ends["tokenizer"] | ends[GENERATION]
    others = written | ends[GENERATION] | ends[CONFIG]
    if not stops or not written <= stops or (others and not ends["tokenizer"] <= others):
        best = sorted(written or ends[GENERATION] or ends[CONFIG])
        example = renderer.tokenizer.id_to_token(best[0]) if best else "TOKEN"
        raise IncompatibleModels(
            f"its files disagree about what ends an answer: {_said(renderer)}",
            remedy=f"choose one, and it is written into all of them: --end-token '{example}'",
        )


def _ends(renderer: PromptRenderer) -> dict[str, set[int]]:
    """Who names which end tokens."""
    eos = read_json(renderer.folder / TOKENIZER).get("eos_token")
    text = eos.get("content") if isinstance(eos, dict) else eos
    named = renderer.tokenizer.token_to_id(text) if isinstance(text, str) else None
    config = read_json(renderer.folder / CONFIG).get("eos_token_id")
    written = renderer.token_behind_an_answer()
    return {
        "tokenizer": {named} - {None},
        CONFIG: set(config if isinstance(config, list) else [config]) - {None},
        GENERATION: set(declared_ends(renderer.folder)),
        "chat template": {written} - {None},
    }


def _said(renderer: PromptRenderer) -> str:
    def text(ids: set[int]) -> str:
        return ", ".join(f"{renderer.tokenizer.id_to_token(number)} ({number})" for number in sorted(ids)) or "none"

    return "; ".join(f"{who}: {text(ids)}" for who, ids in _ends(renderer).items())


def _set_pad(folder: Path, chosen: str | None) -> Iterator[str]:
    """Name a pad token where there is none: of config.json, or the end token. Padding is masked everywhere."""
    renderer = PromptRenderer.from_folder(folder)
    settings = read_json(folder / TOKENIZER)
    if chosen is None and settings.get("pad_token") is not None:
        return
    number = renderer.tokenizer.token_to_id(chosen) if chosen is not None else None
    if chosen is not None and number is None:
        raise IncompatibleModels(f"--pad-token {chosen!r} is no token of this model", remedy="leave it out")
    if number is None:
        declared = read_json(folder / CONFIG).get("pad_token_id")
        number = declared if isinstance(declared, int) and declared >= 0 else renderer.stop_ids[0]
    token = renderer.tokenizer.id_to_token(number)
    if token is None:
        raise IncompatibleModels(
            f"pad_token_id of {CONFIG} is {number}, which is no token", remedy="choose one: --pad-token TOKEN"
        )
    _write(folder / TOKENIZER, {"pad_token": token, "pad_token_id": number}, only=("pad_token_id",))
    _write(folder / CONFIG, {"pad_token_id": number})
    yield f"pad token: {token} ({number}), {'chosen' if chosen is not None else 'there was none'}"


def _write(path: Path, values: dict[str, Any], only: tuple[str, ...] = ()) -> None:
    """Change keys of a JSON file; those in `only` where they stand already."""
    settings = read_json(path)
    write_json(path, settings | {k: v for k, v in values.items() if k not in only or k in settings})


def _require_finite(folder: Path) -> None:
    """Half-precision weights may hold infinities that a training run turns into nan at its first step."""
    import torch
    from safetensors import safe_open

    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                tensor = file.get_tensor(name)
                if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                    bad = f"{int((~torch.isfinite(tensor)).sum()):,} of {tensor.numel():,}"
                    raise IncompatibleModels(
                        f"{path.name}: {bad} values of {name} are infinite or nan ({tensor.dtype})",
                        remedy="a conversion to float16 overflows so; take the bfloat16 or float32 weights",
                    )


def _widths(folder: Path) -> Iterator[str]:
    size = PromptRenderer.from_folder(folder).tokenizer.get_vocab_size()
    width = read_json(folder / CONFIG).get("vocab_size")
    if isinstance(width, int) and width > size:
        yield f"vocabulary: {width:,} rows for {size:,} tokens; the rest is padding that no token reaches"


def _provenance(said: str, source: Path, notes: list[str]) -> str:
    files = [source] if source.is_file() else model_files(source)
    lines = [f"- `{path.name}` sha256 {file_digest(path)}" for path in files]
    told = [f"- {note}" for note in notes] or ["- nothing was changed"]
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return "\n".join(
        [f"# Imported from {said}", "", f"On {when}, from:", "", *lines, "", "What was done:", "", *told, ""]
    )
