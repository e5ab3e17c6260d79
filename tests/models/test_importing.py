"""Checkpoints as people find them become plain folders, or are refused with what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import IncompatibleModels, RegistryError
from reasoning_pipeline.models.importing import Choices, import_folder
from tests.models import gguf_file
from tests.models.folders import copied, edit, says, with_tensors

NONE = Choices()


@pytest.fixture
def model(tmp_path: Path, tiny_model: Path) -> Path:
    return copied(tiny_model, tmp_path / "model")


def test_a_folder_in_order_is_copied_byte_for_byte(model: Path, tmp_path: Path):
    imported = import_folder(model, tmp_path / "out", NONE, said="somebody/model")
    for path in model.iterdir():
        if path.name not in ("tokenizer_config.json", "config.json"):
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    told = (tmp_path / "out" / "PROVENANCE.md").read_text()
    assert "Imported from somebody/model" in told and "model.safetensors` sha256" in told
    assert all(note in told for note in imported.notes)


def test_of_a_trainers_resume_point_only_the_model_is_taken(model: Path, tmp_path: Path):
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        (model / name).write_bytes(b"pickle")
    import_folder(model, tmp_path / "out", NONE, said="checkpoint-7")
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.suffix in (".pt", ".pth", ".bin")]


def test_files_that_disagree_about_the_end_are_told_with_the_choice(model: Path, tmp_path: Path):
    renderer = PromptRenderer.from_folder(model)
    (end,) = renderer.stop_ids
    other = next(n for n, t in renderer.tokenizer.get_added_tokens_decoder().items() if t.special and n != end)
    wrong, right = renderer.tokenizer.id_to_token(other), renderer.tokenizer.id_to_token(end)
    edit(model / "tokenizer_config.json", lambda values: values.update(eos_token=wrong))
    edit(model / "config.json", lambda values: values.update(eos_token_id=end))
    with pytest.raises(IncompatibleModels, match=r"disagree about what ends an answer") as refused:
        import_folder(model, tmp_path / "out", NONE, said="x")
    assert f"tokenizer: {wrong} ({other})" in str(refused.value) and f"config.json: {right} ({end})" in str(
        refused.value
    )
    assert f"--end-token '{right}'" in (refused.value.remedy or "")
    assert not list(tmp_path.glob(".out*")) and not (tmp_path / "out").exists()
    imported = import_folder(says(model, eos_token_id=other), tmp_path / "out", Choices(end_token=right), said="x")
    assert f"its files said tokenizer: {wrong} ({other})" in imported.notes[0]
    assert PromptRenderer.from_folder(tmp_path / "out").stop_ids == [end]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["eos_token_id"] == end


def test_a_missing_pad_token_is_named(model: Path, tmp_path: Path):
    edit(model / "tokenizer_config.json", lambda values: values.pop("pad_token", None))
    edit(model / "config.json", lambda values: values.pop("pad_token_id", None))
    imported = import_folder(model, tmp_path / "out", NONE, said="x")
    assert any("there was none" in note for note in imported.notes)
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["pad_token"]


def test_a_model_without_chat_template_takes_one_from_a_file(model: Path, tmp_path: Path):
    template = PromptRenderer.from_folder(model).chat_template
    (model / "chat_template.jinja").unlink(missing_ok=True)
    edit(model / "tokenizer_config.json", lambda values: values.pop("chat_template", None))
    with pytest.raises(IncompatibleModels, match="no chat template") as refused:
        import_folder(model, tmp_path / "out", NONE, said="x")
    assert "--chat-template FILE.jinja" in (refused.value.remedy or "")
    (tmp_path / "own.jinja").write_text(template)
    import_folder(model, tmp_path / "out", Choices(chat_template=tmp_path / "own.jinja"), said="x")
    assert PromptRenderer.from_folder(tmp_path / "out").chat_template == template


def test_infinite_weights_are_found_before_training(model: Path, tmp_path: Path):
    embedding = load_file(model / "model.safetensors")["model.embed_tokens.weight"].astype(np.float16)
    embedding[3, :2] = np.inf
    with_tensors(model, embedding=embedding)
    with pytest.raises(
        IncompatibleModels, match=r"2 of [\d,]+ values of model\.embed_tokens\.weight are infinite or nan"
    ):
        import_folder(model, tmp_path / "out", NONE, said="x")


def test_pickles_adapters_halves_and_what_is_there_are_refused(model: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    with pytest.raises(RegistryError, match="is there already"):
        import_folder(model, tmp_path / "out", NONE, said="x")
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[:-9])
    with pytest.raises(RegistryError, match="its header promises"):
        import_folder(model, tmp_path / "half", NONE, said="x")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(RegistryError, match=r"only as pickles \(pytorch_model.bin\)"):
        import_folder(model, tmp_path / "pickle", NONE, said="x")
    (model / "adapter_config.json").write_text("{}")
    with pytest.raises(RegistryError, match="an adapter, not a model"):
        import_folder(model, tmp_path / "adapter", NONE, said="x")


def test_a_gguf_file_becomes_a_folder_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from reasoning_pipeline.models.loading import load_model

    file = gguf_file.write(tmp_path / "tiny.gguf")
    assert main(["import-model", str(file), str(tmp_path / "out")]) != 0
    assert "chat template: <|end|> (2)" in capsys.readouterr().err
    assert main(["import-model", str(file), str(tmp_path / "out"), "--end-token", "<|end|>"]) == 0
    model = load_model(tmp_path / "out")
    assert model.config.num_hidden_layers == gguf_file.LAYERS
    renderer = PromptRenderer.from_folder(tmp_path / "out")
    assert renderer.stop_ids == [2]
    assert renderer.prompt("1") == "<|start|>user\n1<|end|>\n<|start|>assistant\n"
    assert not (tmp_path / "out" / "generation_config.json").exists()


def test_a_gguf_file_that_nothing_can_read_is_told(tmp_path: Path):
    strange = gguf_file.write(tmp_path / "strange.gguf", architecture="mystery")
    with pytest.raises(IncompatibleModels, match=re.escape(str(strange))) as refused:
        import_folder(strange, tmp_path / "out", NONE, said="x")
    assert "mystery" in str(refused.value) and "safetensors" in (refused.value.remedy or "")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(gguf_file.write(tmp_path / "tiny.gguf").read_bytes()[:-2000])
    with pytest.raises(IncompatibleModels, match="transformers cannot read it"):
        import_folder(cut, tmp_path / "out", NONE, said="x")


def test_rows_that_no_token_reaches_are_told(model: Path, tmp_path: Path):
    # the character tokenizer has 99 tokens, the embedding 112 rows
    imported = import_folder(model, tmp_path / "out", NONE, said="x")
    (told,) = [note for note in imported.notes if note.startswith("vocabulary")]
    assert "112 rows for 99 tokens" in told and told in (tmp_path / "out" / "PROVENANCE.md").read_text()


def test_a_tied_head_that_was_saved_twice_counts_once(model: Path, tmp_path: Path):
    from reasoning_pipeline.models.loading import load_model

    embedding = load_file(model / "model.safetensors")["model.embed_tokens.weight"]
    import_folder(with_tensors(model, head=embedding), tmp_path / "out", NONE, said="x")
    loaded = load_model(tmp_path / "out")
    assert loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight
