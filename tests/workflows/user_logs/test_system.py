"""A published system: which path answers, what it costs, and that the base stays what it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import DataError, IncompatibleModels, RegistryError
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.run.speaking import Speaker
from reasoning_pipeline.workflows.user_logs.clusters import Router
from reasoning_pipeline.workflows.user_logs.opening import open_system
from reasoning_pipeline.workflows.user_logs.roles import by_words
from reasoning_pipeline.workflows.user_logs.system import System
from tests.adapters import make_adapter

NEAR, ADVISED, FAR = "1+1", "2*2", "7-7"


@pytest.fixture
def published(tmp_path: Path, tiny_model: Path) -> Path:
    """Cluster 0 is near NEAR and has an expert, cluster 1 near ADVISED with a critic; FAR is far from both."""
    folder = tmp_path / "choose_modules-1"
    make_adapter(folder / "adapters/expert-0", tiny_model, 1)
    make_adapter(folder / "adapters/critic-1", tiny_model, 2)
    Router(by_words([NEAR, ADVISED]), unseen_distance=1.2).save(folder)
    values = {
        "base": str(tiny_model),
        "embedder": None,
        "embedding": {"by": "words"},
        "thresholds": {"max_prompt_tokens": 120, "max_completion_tokens": 4, "temperature": 0.0},
        "decisions": {"0": {"path": "primary"}, "1": {"path": "reflective"}},
    }
    (folder / "system.json").write_text(json.dumps(values))
    return folder


@pytest.fixture
def opened(published: Path) -> tuple[System, Speaker]:
    return open_system(published, load_profile("cpu_transformers"), PromptConfig())


def ask(opened: tuple[System, Speaker], *queries: str):
    system, speaker = opened
    return system.answer(queries, ["small"] * len(queries), speaker, system.thresholds.decoding(0))


def in_mode(system: System, mode: str) -> None:
    system.thresholds = system.thresholds.model_copy(update={"mode": mode})


def test_each_query_takes_its_path_and_says_so(opened):
    _, speaker = opened
    near, advised, far = ask(opened, NEAR, ADVISED, FAR)
    assert [(a.path, a.generations, a.adapter) for a in (near, advised, far)] == [
        ("primary", 1, "expert-0"),
        ("reflective", 3, "critic-1"),
        ("base", 1, None),
    ]
    assert speaker.generations == 5
    assert (near.cluster, advised.cluster, far.cluster) == (0, 1, None) and far.distance > 1.2
    assert near.metadata()["path"] == "primary" and "text" not in near.metadata()


def test_beyond_the_distance_the_base_answers_bit_for_bit(opened, tiny_model: Path):
    _, speaker = opened
    decoding = Decoding(temperature=0.0, max_tokens=4, seed=0)
    before = speaker.answer([FAR, NEAR], decoding)
    near, far = ask(opened, NEAR, FAR)
    assert far.text == before[0] == ask(opened, FAR)[0].text
    assert near.text != before[1]  # the adapter does something
    model = speaker.sampler.model.get_base_model()
    held = {name: tensor.numpy() for name, tensor in model.state_dict().items() if "lora" not in name}
    for name, tensor in load_file(tiny_model / "model.safetensors").items():
        layer, _, part = name.rpartition(".")
        ours = held[name] if name in held else held[f"{layer}.base_layer.{part}"]
        assert np.array_equal(ours, tensor), name


def test_a_reflective_answer_is_the_bases_revision_of_its_own_draft(opened):
    _, speaker = opened
    asked: list[tuple[str, str | None]] = []
    answer = speaker.answer

    def noted(questions, decoding, *, adapter=None):
        asked.extend((question, adapter and adapter.name) for question in questions)
        return answer(questions, decoding, adapter=adapter)

    speaker.answer = noted
    ask(opened, ADVISED)
    assert [who for _, who in asked] == [None, "critic-1", None]
    assert asked[0][0] == ADVISED and asked[1][0].startswith("advise 2*2") and asked[2][0].startswith("revise ")


@pytest.mark.parametrize(
    ("mode", "paths"),
    [
        ("uno_single", ["primary", "base"]),
        ("base", ["base", "base"]),
        ("critics_everywhere", ["base", "reflective"]),  # cluster 0 has no critic
        ("experts_everywhere", ["primary", "base"]),
    ],
)
def test_modes_take_what_there_is(opened, mode: str, paths: list[str]):
    in_mode(opened[0], mode)
    assert [answer.path for answer in ask(opened, NEAR, ADVISED)] == paths


def test_an_adapter_of_another_base_is_refused(opened, published: Path):
    config = published / "adapters/expert-0/adapter_config.json"
    config.write_text(config.read_text().replace('"tiny"', '"another"'))
    with pytest.raises(IncompatibleModels, match="was made for another, not for tiny"):
        opened[0].check()
    with pytest.raises(IncompatibleModels, match="was made for another"):
        ask(opened, NEAR)


def test_an_embedder_of_another_dimension_is_refused(opened, published: Path):
    Router(np.eye(3), unseen_distance=1.2).save(published)
    system = System.load(published)
    with pytest.raises(DataError, match="gives 256 numbers, the stored centroids have 3"):
        system.check()
    with pytest.raises(RegistryError, match=r"no system\.json"):
        System.load(published / "adapters")
