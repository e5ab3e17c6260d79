"""The command line: quick help, exact refusals, one server for several checkpoints, and an end that continues."""

from __future__ import annotations

import subprocess
import sys
import types
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from evals import results
from evals.__main__ import main
from evals.cli import local_files
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import DataError, IncompatibleModels, RegistryError, ServerLost
from reasoning_pipeline.rollouts.clients.scripted import ScriptedSampler


@dataclass(frozen=True)
class Model:
    folder: Path
    name: str
    fingerprint: str | None = "f" * 8
    prompt: PromptConfig | None = None


@dataclass
class World:
    """A registry with two checkpoints and a server, as `evals` sees them."""

    folder: Path
    renderer: object
    started: list[dict]
    loaded: list[Path]
    loses: int = 0
    """Times the server dies after so many answers."""
    after: int = 3
    swaps: bool = True

    def resolve(self, reference: str, root: Path | None = None) -> Model:
        if reference not in ("base", "tuned"):
            raise RegistryError(f"no checkpoint {reference}", remedy="name another")
        folder = self.folder if reference == "base" else self.folder / ".." / self.folder.name
        return Model(folder, reference, reference)

    @contextmanager
    def session(self, folder, *, hardware, server, max_model_len, label, others):
        self.started.append({"folder": folder, "server": server, "max_model_len": max_model_len, "label": label})
        self.started[-1]["others"] = others
        count = 0

        def answer(ids, sample):
            nonlocal count
            count += 1
            if self.loses and count > self.after:
                self.loses -= 1
                raise ServerLost("the rollout server went away")
            return "\\boxed{10}"

        sampler = ScriptedSampler(answer, self.renderer)

        def load_checkpoint(folder):
            if not self.swaps:
                raise IncompatibleModels("another architecture")
            self.loaded.append(folder)

        sampler.load_checkpoint = load_checkpoint  # type: ignore[attr-defined]
        yield sampler


@pytest.fixture
def world(model_folder, renderer, monkeypatch) -> World:
    world = World(model_folder, renderer, [], [])
    session = types.ModuleType("session")
    session.rollout_session = world.session  # type: ignore[attr-defined]
    monkeypatch.setattr("reasoning_pipeline.registry.resolve.resolve_model", world.resolve)
    monkeypatch.setitem(sys.modules, "reasoning_pipeline.rollouts.session", session)
    return world


@pytest.fixture
def rows(write_rows) -> Path:
    return write_rows(
        [{"unique_id": f"p{i}", "problem": f"What is {i} + 10?", "answer": str(i + 10)} for i in range(4)]
    )


def test_one_checkpoint_one_suite(world: World, rows: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert main(["base", "--suite", str(rows), "--samples", "2", "--max-tokens", "64", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("small  25.0 %  ± – (problems fixed) / 25.0 (drawn)")  # both samples always agree
    assert str(out / "report.html") in shown
    summary = results.load(out).summaries["small"]
    assert summary.settings["preset"] == "qwen3-nonthinking"
    assert (summary.settings["decoding"]["max_tokens"], summary.settings["fingerprint"]) == (64, "base")
    longest = len(summary.settings["first_prompt"])
    assert world.started[0]["max_model_len"] == longest - len("<|end|>") + 1 + 64  # the end token is one token
    assert main(["base", "--suite", str(rows), "--samples", "2", "--max-tokens", "64", "--out", str(out)]) == 0
    assert len(world.started) == 1  # complete: no server is started again


def test_several_checkpoints_share_one_server(world: World, rows: Path, tmp_path: Path):
    assert main(["base", "tuned", "--suite", str(rows), "--preset", "plain", "--out", str(tmp_path / "o")]) == 0
    assert (len(world.started), len(world.loaded)) == (1, 1)
    assert world.loaded[0] in world.started[0]["others"], "it may read what it will be given"
    assert results.load(tmp_path / "o" / "tuned").summaries["small"].checkpoint == "tuned"


def test_another_architecture_gets_a_server_of_its_own(world: World, rows: Path, tmp_path: Path):
    world.swaps = False
    assert main(["base", "tuned", "--suite", str(rows), "--preset", "plain", "--out", str(tmp_path / "o")]) == 0
    assert [start["label"] for start in world.started] == ["base", "tuned"]


def test_a_lost_server_is_started_again_while_samples_come(world: World, rows: Path, tmp_path: Path, capsys):
    command = ["base", "--suite", str(rows), "--preset", "plain", "--samples", "2", "--out"]
    world.loses = 1
    assert main([*command, str(tmp_path / "once")]) == 0
    assert len(world.started) == 2
    world.loses, world.after = 3, 1
    assert main([*command, str(tmp_path / "often")]) == 0
    assert len(world.started) == 2 + 4
    world.loses, world.after = 2, 0
    assert main([*command, str(tmp_path / "never")]) == 75
    assert "error: the rollout server went away" in capsys.readouterr().err
    assert len(world.started) == 2 + 4 + 2
    world.loses = 1  # somebody else's server is not ours to start again
    assert main([*command, str(tmp_path / "theirs"), "--server", "http://127.0.0.1:1"]) == 75


def test_local_data_by_suite():
    assert local_files(["x.jsonl"], ["math500"]) == {"math500": Path("x.jsonl")}
    assert local_files(["aime24=b", "math500=a=1"], ["math500", "aime24"]) == {
        "aime24": Path("b"),
        "math500": Path("a=1"),
    }
    with pytest.raises(DataError, match="which suite is it for"):
        local_files(["x.jsonl"], ["math500", "aime24"])
    with pytest.raises(DataError, match="which suite is it for"):
        local_files(["mth500=x"], ["math500"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples", "0"], "--samples: at least 1 (got 0)"),
        (["--temperature", "-1"], "--temperature: at least 0 (got -1)"),
        (["--temperature", "nan"], "--temperature: at least 0 (got nan)"),
        (["--top-p", "0"], "--top-p: above 0 and at most 1 (got 0)"),
        (["--max-tokens", "many"], "--max-tokens: expected a number (got 'many')"),
        (["--limit", "0"], "--limit: at least 1"),
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], message: str, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["base", "--suite", "math500", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["base", "--suite", "math5000"], 2, 'no suite is called "math5000"'),
        (["nobody", "--suite", "FILE"], 1, "no checkpoint nobody"),
        (["base", "--suite", "FILE", "--preset", "qwen4"], 2, 'no preset is called "qwen4"'),
        (["base", "base", "--suite", "FILE"], 2, "base is given twice"),
        (["base", "--suite", "FILE", "--suite", "FILE", "--preset", "plain"], 2, "two suites are called small"),
    ],
)
def test_what_can_be_mended_is_one_message(
    world: World, rows: Path, tmp_path: Path, capsys, arguments: list[str], status: int, message: str
):
    given = [str(rows) if argument == "FILE" else argument for argument in arguments]
    assert main([*given, "--out", str(tmp_path / "o")]) == status
    shown = capsys.readouterr().err
    assert f"error: {message}" in shown
    assert "Traceback" not in shown


def test_a_tokenizer_without_chat_template_costs_no_server(world: World, rows: Path, tmp_path, capsys):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "tokenizer.json").write_bytes((world.folder / "tokenizer.json").read_bytes())
    world.folder = bare
    assert main(["base", "--suite", str(rows), "--out", str(tmp_path / "o")]) == 2
    assert "the tokenizer has no chat template" in capsys.readouterr().err
    assert world.started == []


def test_help_loads_nothing_heavy():
    code = "import sys; from evals.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pydantic", "jinja2", "httpx", "sympy", "torch", "datasets", "transformers"} & set(loaded)


def test_evaluating_needs_no_torch():
    modules = "evals.run, evals.report, evals.compare, evals.regrade, reasoning_pipeline.data.suites.loading"
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "datasets", "sympy", "matplotlib"} & set(loaded)
