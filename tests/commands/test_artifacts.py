"""Looking after a registry: verify, diff, gc, export, import, push. Nothing is repaired or removed in silence."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.registry import adopting, exporting
from reasoning_pipeline.registry.adopting import import_model
from reasoning_pipeline.registry.lineage import lineage_text
from reasoning_pipeline.registry.record import MOST_BYTES, RECORD, Record, read_record
from reasoning_pipeline.registry.removal import remove, unneeded
from reasoning_pipeline.registry.resolve import resolve_model
from reasoning_pipeline.registry.store import Artifact, Registry
from tests.bench import MODEL_FILES, Bench, record, write_files


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def plan(bench: Bench) -> Plan:
    """Everything of the small recipe is published."""
    plan = bench.plan()
    spends = [{"step": "teacher_rl", "pool": "first", "labels": 12}, {"step": "polish", "pool": "second", "labels": 4}]
    for step in plan.steps:
        fields: dict[str, Any] = {}
        if step.name.endswith(".evaluate"):
            figures = {"accuracy": 0.625, "interval": [0.5, 0.75], "problems": 40, "samples": 2, "truncated": 0.0}
            fields["result"] = {"suites": {"arithmetic": figures}}
        if step.name in ("teacher_rl", "rollouts", "warmup", "distill", "polish"):
            fields["label_spend"] = spends if step.name == "polish" else spends[:1]
        bench.publish(plan, step.name, **fields)
    return bench.plan()


def run(bench: Bench, *arguments: str | Path) -> int:
    return main([*map(str, arguments), "--root", str(bench.root)])


def artifact(plan: Plan, name: str) -> Artifact:
    found = plan.step(name).artifact
    assert found is not None
    return found


# --- records ---------------------------------------------------------------------------------------------------------


def test_an_edited_figure_is_named_and_nothing_is_built_on_it(
    bench: Bench, plan: Plan, capsys: pytest.CaptureFixture[str]
):
    path = artifact(plan, "polish").folder / RECORD
    values = json.loads(path.read_text())
    values["label_spend"][0]["labels"] = 1
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    assert run(bench, "verify") == 1
    assert (
        f"error: {path.parent.name}/record.json: its own digest differs; it was edited by hand"
        in capsys.readouterr().out
    )
    for use in (bench.plan, lambda: resolve_model("polish", bench.root)):
        with pytest.raises(RegistryError, match="it was edited by hand") as error:
            use()
        assert "put the original back" in str(error.value.remedy)
    assert json.loads(path.read_text()) == values  # nothing was repaired


def test_another_layout_of_the_same_record_is_no_edit(bench: Bench, plan: Plan):
    path = artifact(plan, "polish").folder / RECORD
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert plan.registry.verify(artifact(bench.plan(), "polish")) == []


def test_a_record_of_the_first_schema_is_read_as_it_is(bench: Bench, plan: Plan):
    path = artifact(plan, "polish").folder / RECORD
    values = json.loads(path.read_text())
    del values["record_digest"]
    path.write_text(json.dumps(values | {"schema_version": 1}))
    assert artifact(bench.plan(), "polish").record.schema_version == 1
    assert plan.registry.verify(artifact(bench.plan(), "polish")) == []
    path.write_text(json.dumps(values))  # of the second schema, without its digest
    with pytest.raises(RegistryError, match="edited by hand"):
        bench.plan()


def test_a_huge_or_bottomless_record_is_refused_in_bounded_memory(bench: Bench, plan: Plan):
    path = artifact(plan, "polish").folder / RECORD
    with path.open("wb") as file:
        file.truncate(MOST_BYTES * 1000)  # 16 GB of nothing; only its length is there
    with pytest.raises(RegistryError, match=r"record\.json: larger than 16 MiB"):
        bench.plan()
    path.write_text("[" * 100_000)
    with pytest.raises(RegistryError, match=r"record\.json: cannot be read"):
        bench.plan()


def test_a_diverged_run_s_figures_do_not_keep_it_from_being_published(bench: Bench):
    (found,) = bench.publish(bench.plan(), "polish", result={"kl_last": float("nan"), "kl_first": 1.5})
    assert read_record(found.folder).result == {"kl_last": None, "kl_first": 1.5}
    assert Registry(bench.root).verify(found) == []


@pytest.mark.parametrize("name", ["../other/model.safetensors", "/etc/passwd", ""])
def test_a_record_that_names_files_outside_its_folder_is_refused(bench: Bench, plan: Plan, name: str):
    path = artifact(plan, "polish").folder / RECORD
    values = json.loads(path.read_text())
    values["files"][name] = values["files"].pop("config.json")
    path.write_text(json.dumps(values))
    with pytest.raises(RegistryError, match="is outside the artifact's folder"):
        bench.plan()


def test_links_are_neither_published_nor_accepted(bench: Bench, plan: Plan, tmp_path: Path):
    secret = write_files(tmp_path / "elsewhere", {"secret": "weights"}) / "secret"
    found = artifact(plan, "polish")
    (found.folder / "model.safetensors").unlink()
    (found.folder / "model.safetensors").symlink_to(secret)
    (found.folder / "more").symlink_to(secret.parent)
    (found.folder / "stray.txt").write_text("")
    assert plan.registry.verify(found) == [
        f"{found.name}/model.safetensors: a link; artifacts are plain files",
        f"{found.name}/more: a link; artifacts are plain files",
        f"{found.name}/stray.txt: not in its record",
    ]
    step = bench.plan(overrides=("steps.polish.seed=3",)).step("polish")
    work = write_files(bench.root / "work" / "polish", {"config.json": "{}"})
    (work / "model.safetensors").symlink_to(secret)
    with pytest.raises(RegistryError, match=r"polish/model\.safetensors: a link"):
        plan.registry.publish(work, record(step, "small"))
    assert (work / "config.json").exists() and secret.exists()


# --- verify and diff -------------------------------------------------------------------------------------------------


def test_verify_looks_at_all_or_at_some_and_at_the_others_of_a_damaged_one(
    bench: Bench, plan: Plan, capsys: pytest.CaptureFixture[str]
):
    assert run(bench, "verify") == 0
    assert capsys.readouterr().out.startswith(f"{len(plan.steps)} artifacts, ")
    (artifact(plan, "polish").folder / "model.safetensors").write_text("WEIGHTS")
    (artifact(plan, "warmup").folder / RECORD).write_text("{")
    assert run(bench, "verify") == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"error: {artifact(plan, 'polish').name}/model.safetensors: content differs from its record" in lines
    assert any(line.startswith(f"error: {artifact(plan, 'warmup').name}/record.json: cannot be read") for line in lines)
    (artifact(plan, "warmup").folder / RECORD).unlink()
    assert run(bench, "verify", "distill") == 0
    assert run(bench, "verify", "polish") == 1


def test_diff_tells_two_records_apart(bench: Bench, plan: Plan, capsys: pytest.CaptureFixture[str]):
    other = bench.publish(bench.plan(overrides=("steps.polish.seed=5",)), "polish", result={"steps": 3})[0]
    names = artifact(plan, "polish").name, other.name
    for command in ("diff", "show"):
        assert run(bench, command, *names) == 1
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert rows[0] == ["field", *names]
        assert ["config.seed", "0", "5"] in rows and ["result.steps", "–", "3"] in rows
        assert rows[-1] == ["files", "that", "differ:", "none"]
    assert run(bench, "diff", names[0], names[0]) == 0


def test_the_lineage_shows_labels_and_scores(bench: Bench, plan: Plan, capsys: pytest.CaptureFixture[str]):
    assert run(bench, "show", "polish") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{artifact(plan, 'polish').name} (small/polish, 16 labels)  arithmetic 62.5%"
    assert any("teacher_base" in line and "labels" not in line for line in lines)
    assert sum(artifact(plan, "teacher_base").name in line for line in lines) == 1  # what was told is not told again
    assert any(line.rstrip().endswith("as above") for line in lines)


# --- gc --------------------------------------------------------------------------------------------------------------


def other_recipe(bench: Bench) -> Path:
    """A recipe that shares teacher and student with the small one and warms up differently."""
    return bench.changed(lambda r: (r["steps"]["warmup"].update(steps=5), r.update(name="other")), name="other.yaml")


def test_gc_removes_what_no_given_recipe_needs_and_keeps_its_record(
    bench: Bench, plan: Plan, capsys: pytest.CaptureFixture[str]
):
    other = make_plan(load_recipe(other_recipe(bench)), bench.root)
    gone = [s.output for s in plan.steps if s.output not in {o.output for o in other.steps}]
    assert {s.name for s in plan.steps if s.output in gone} == {
        *("warmup", "warmup.evaluate", "distill", "distill.evaluate", "polish", "polish.evaluate")
    }
    before = sorted(path.name for path in plan.registry.folder.iterdir())
    assert run(bench, "gc", other.recipe.path, "--dry-run") == 0
    out = capsys.readouterr().out
    assert all(f"registry/{name}" in out for name in gone) and "6 removable, " in out
    assert before == sorted(path.name for path in plan.registry.folder.iterdir())
    assert run(bench, "gc", other.recipe.path) == 1  # nobody there to be asked
    assert "add --yes" in capsys.readouterr().err
    kept = plan.step("polish").output
    assert run(bench, "gc", other.recipe.path, "--yes", "--keep", "polish") == 0
    left = {path.name for path in plan.registry.folder.iterdir()} - {"removed"}
    assert left == {s.output for s in plan.steps if not s.name.startswith(("polish.", "distill.", "warmup."))}
    assert kept in left and plan.step("warmup").output in left  # what polish came from
    assert run(bench, "gc", other.recipe.path, "--yes") == 0
    assert {path.name for path in plan.registry.folder.iterdir()} - {"removed"} == set(before) - set(gone)
    assert Record.model_validate(plan.registry.removed(kept)).label_spend[1].labels == 4
    assert run(bench, "verify") == 0


def test_a_lineage_through_removed_ancestors_is_still_told(
    bench: Bench, plan: Plan, capsys: pytest.CaptureFixture[str]
):
    items = [
        i for i in unneeded(plan.registry, []) if i.artifact is not None and i.artifact.record.step == "teacher_rl"
    ]
    remove(plan.registry, items)
    text = lineage_text(plan.registry, artifact(plan, "polish"))
    assert f"teacher: {plan.step('teacher_rl').output} (small/teacher_rl, 12 labels, removed)" in text
    assert plan.step("teacher_base").output in text
    assert run(bench, "plan", plan.recipe.path) == 0
    out = capsys.readouterr().out
    assert any("would run again" in line and line.startswith("teacher_rl ") for line in out.splitlines())


def test_an_interrupted_removal_leaves_no_artifact(bench: Bench, plan: Plan, monkeypatch: pytest.MonkeyPatch):
    from reasoning_pipeline.registry import removal

    class Killed(BaseException):
        pass

    def killed(*arguments: object) -> None:
        raise Killed

    items = [i for i in unneeded(plan.registry, []) if i.folder.name == plan.step("polish").output]
    with monkeypatch.context() as patch:
        patch.setattr(removal.shutil, "rmtree", killed)
        with pytest.raises(Killed):
            remove(plan.registry, items)
    assert not bench.plan().step("polish").complete
    assert not any(found.record.step == "polish" for found in plan.registry.artifacts())
    kept = [step.output for step in plan.steps]
    (left,) = unneeded(plan.registry, kept)
    assert left.why == "a removal that was interrupted"
    remove(plan.registry, [left])
    assert unneeded(plan.registry, kept) == []


def test_what_dead_runs_left_is_found_when_it_is_old(bench: Bench, plan: Plan):
    kept = [step.output for step in plan.steps]
    half = write_files(plan.registry.folder / "pretrain-0000000000000000", {"model.safetensors": "half"})
    work = write_files(bench.root / "work" / kept[0], {"checkpoints/x": "12345"})
    begun = write_files(bench.root / "work" / "pretrain-1111111111111111", {"checkpoints/x": "a step to be continued"})
    assert unneeded(plan.registry, kept) == []
    long_ago = time.time() - 2 * 24 * 3600
    for folder in (half, work, begun):
        os.utime(folder, (long_ago, long_ago))
    found = {item.folder.name: (item.why, item.bytes) for item in unneeded(plan.registry, kept)}
    assert found == {half.name: ("no artifact: it has no record", 4), work.name: ("work of a step that is complete", 5)}


def test_gc_waits_for_no_run_and_removes_nothing_beside_one(
    bench: Bench, plan: Plan, capsys: pytest.CaptureFixture[str]
):
    me = {"host": socket.gethostname(), "pid": os.getpid(), "started": __import__("psutil").Process().create_time()}
    write_files(bench.root / "small", {"running.json": json.dumps(me)})
    assert run(bench, "gc", other_recipe(bench), "--yes") == 1
    assert "a run is at work here\n  small/running.json: process" in capsys.readouterr().err
    assert run(bench, "gc", other_recipe(bench), "--dry-run") == 0


# --- export and push -------------------------------------------------------------------------------------------------


def test_an_export_is_a_plain_folder_with_a_card(bench: Bench, plan: Plan, tmp_path: Path):
    target = tmp_path / "out" / "model"
    (artifact(plan, "polish").folder / "stray.txt").write_text("not published, not exported")
    (artifact(plan, "polish").folder / "stray.txt").unlink()
    assert run(bench, "export", "polish", target) == 0
    assert sorted(path.name for path in target.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    card = (target / "README.md").read_text()
    for words in (
        "# polish (small)",
        "16 checked answers are behind it.",
        "| teacher_rl | first | 12 |",
        "| arithmetic | 62.5% | 50.0% to 75.0% | 40 | 2 | 0.0% |",
        f"policy: {plan.step('distill').output} (small/distill, 12 labels)",
        plan.step("polish").fingerprint,
    ):
        assert words in card
    assert str(bench.root) not in card and str(Path.home()) + "/" not in card
    assert list(target.parent.iterdir()) == [target]


def test_an_export_refuses_what_it_cannot_stand_for(bench: Bench, plan: Plan, tmp_path: Path):
    registry = plan.registry
    with pytest.raises(RegistryError, match="holds rollouts, no checkpoint"):
        exporting.export(registry, artifact(plan, "rollouts"), tmp_path / "a")
    write_files(tmp_path / "full", {"mine": ""})
    with pytest.raises(RegistryError, match="holds something already"):
        exporting.export(registry, artifact(plan, "polish"), tmp_path / "full")
    (artifact(plan, "polish").folder / "model.safetensors").write_text("WEIGHTS")
    with pytest.raises(RegistryError, match=r"model\.safetensors: content differs from its record"):
        exporting.export(registry, artifact(plan, "polish"), tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "a", "b"))) == []


def test_text_of_others_cannot_break_the_card_s_tables(bench: Bench):
    plan = bench.plan()
    evil = [{"step": "a|b\n\n# c", "pool": "<script>", "labels": 1}]
    bench.publish(plan, "polish", label_spend=evil)
    card = exporting.model_card(plan.registry, artifact(bench.plan(), "polish"))
    assert "| a\\|b  # c | &lt;script> | 1 |" in card


class Hub:
    """Stands where `HfApi` stands and keeps what it was given."""

    given: dict[str, Any] = {}  # noqa: RUF012 - one hub
    refuses: Exception | None = None

    def create_repo(self, name: str, **options: Any) -> str:
        if self.refuses is not None:
            raise self.refuses
        Hub.given = {"name": name, **options}
        return f"https://hub/{name}"

    def upload_folder(self, *, folder_path: Path, **options: Any) -> None:
        Hub.given |= options | {"files": sorted(path.name for path in Path(folder_path).iterdir())}


def test_a_push_is_an_export_to_the_hub(
    bench: Bench, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert run(bench, "push", "polish", "ann/polish", "--private") == 0
    assert capsys.readouterr().out == "https://hub/ann/polish\n"
    assert Hub.given["files"] == ["README.md", "config.json", "model.safetensors"]
    assert (Hub.given["name"], Hub.given["repo_id"], Hub.given["private"]) == ("ann/polish", "ann/polish", True)
    assert plan.step("polish").output in Hub.given["commit_message"]


def test_a_push_without_network_or_token_says_so(
    bench: Bench, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import httpx
    from huggingface_hub.errors import LocalTokenNotFoundError

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    for refusal, remedy in (
        (httpx.ConnectError("no route to host"), "check the network"),
        (LocalTokenNotFoundError("Token is required"), "log in with `hf auth login`"),
    ):
        monkeypatch.setattr(Hub, "refuses", refusal)
        assert run(bench, "push", "polish", "ann/polish") == 1
        error = capsys.readouterr().err
        assert "ann/polish: could not be pushed to the hub" in error and remedy in error


def test_a_real_client_that_is_offline_is_understood(
    bench: Bench, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_TOKEN", "none")
    assert run(bench, "push", "polish", "ann/polish") == 1
    assert "check the network (and HF_HUB_OFFLINE)" in capsys.readouterr().err


# --- import ----------------------------------------------------------------------------------------------------------


def outside_model(folder: Path, value: float = 1.0) -> Path:
    import numpy as np

    write_files(folder, {"config.json": "{}", "tokenizer.json": "{}", "README.md": "a card", "model.bin": "pickled"})
    save_file({"weight": np.full(4, value, dtype=np.float32)}, folder / "model.safetensors")
    return folder


def test_an_imported_model_is_an_artifact_that_recipes_name(bench: Bench, tmp_path: Path):
    source = outside_model(tmp_path / "Qwen-X")
    assert run(bench, "import", source, "--labels-spent", "500", "--note", "from the shelf") == 0
    (found,) = Registry(bench.root).artifacts()
    assert sorted(found.record.files) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert found.record.config == {"source": {"folder": "Qwen-X"}, "labels_spent": 500, "note": "from the shelf"}
    assert str(tmp_path) not in (found.folder / RECORD).read_text()
    assert Registry(bench.root).verify(found) == []
    plan = bench.plan(lambda r: r["steps"]["teacher_rl"].update(policy="qwen-x"))
    step = plan.step("teacher_rl")
    assert step.input("policy").artifact == found.name and step.input("policy").fingerprint == found.record.fingerprint
    assert sum(spend.labels for spend in step.lineage) == 500 + 12  # its declared labels, and the pool's
    assert unneeded(plan.registry, []) == []  # a person brought it in; gc leaves it


def test_importing_again_is_harmless_and_another_declaration_is_refused(bench: Bench, tmp_path: Path):
    registry, source = Registry(bench.root), outside_model(tmp_path / "m")
    first = import_model(registry, str(source))
    assert import_model(registry, str(source)) == first
    moved = source.rename(tmp_path / "elsewhere")
    with pytest.raises(RegistryError, match="the same model was imported as 'm', with 0 labels"):
        import_model(registry, str(moved), name="m", labels_spent=7)
    with pytest.raises(RegistryError, match=f"'m' is what {first.name} is called"):
        import_model(registry, str(outside_model(tmp_path / "m", value=2.0)))


def test_only_whole_safetensors_come_in(bench: Bench, tmp_path: Path):
    registry, source = Registry(bench.root), outside_model(tmp_path / "m")
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(RegistryError, match=r"model\.safetensors: no readable safetensors file"):
        import_model(registry, str(source))
    weights.unlink()
    with pytest.raises(RegistryError, match="a model folder without weights"):
        import_model(registry, str(source))
    assert list(registry.artifacts()) == [] and not list(bench.root.glob("work/.import-*"))


def test_a_hub_model_comes_in_with_its_commit(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    commit = "c" * 40
    snapshot = outside_model(tmp_path / commit)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: str(snapshot))
    found = import_model(Registry(bench.root), f"Qwen/Qwen3-1.7B@{commit}")
    assert found.record.step == "qwen3-1.7b"
    assert found.record.config["source"] == {"model": "Qwen/Qwen3-1.7B", "commit": commit}


def test_another_registry_is_merged_and_a_conflict_named(
    bench: Bench, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    there = Bench(tmp_path / "there")
    there.folder.mkdir()
    theirs = there.plan()
    there.publish(theirs, "teacher_base")
    there.publish(theirs, "student_base", files=MODEL_FILES | {"model.safetensors": "other weights"})
    new = there.publish(there.plan(overrides=("steps.polish.seed=8",)), "polish")[0]
    assert run(bench, "import", there.root) == 1
    out, error = capsys.readouterr()
    assert f"{plan.step('teacher_base').output}: here already" in out and f"{new.name}: copied" in out
    name = plan.step("student_base").output
    assert f"{name}: both have this fingerprint, with different model.safetensors" in error
    assert (plan.registry.folder / name / "model.safetensors").read_text() == "weights"  # ours is untouched
    assert new.folder.is_dir() and run(bench, "verify") == 0


def test_a_damaged_artifact_of_another_registry_stays_out(bench: Bench, tmp_path: Path):
    there = Bench(tmp_path / "there")
    there.folder.mkdir()
    (found,) = there.publish(there.plan(), "polish")
    (found.folder / "config.json").unlink()
    with pytest.raises(RegistryError, match=r"not imported:\n  extra_rl-.*/config\.json: missing"):
        list(adopting.merge(Registry(bench.root), [found.folder]))
    assert list(Registry(bench.root).artifacts()) == []


# --- reading while others write --------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from tests.bench import Bench, publish, MODEL_FILES
bench = Bench(Path(sys.argv[1]))
print("ready", flush=True)
for seed in range(20):
    plan = bench.plan(overrides=(f"steps.polish.seed={seed}",))
    publish(plan, plan.step("polish"), MODEL_FILES | {f"shard-{i}": "x" * 5000 for i in range(5)})
"""


def test_a_reader_never_sees_half_of_what_a_writer_publishes(bench: Bench):
    project = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", WRITER, str(bench.folder)]
    registry, seen = Registry(bench.root), 0
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        while writer.poll() is None:
            found = list(registry.artifacts())
            seen = max(seen, len(found))
            for item in found[-3:]:
                assert registry.verify(item) == []
    assert writer.returncode == 0
    assert 0 < seen <= 20 == len(list(registry.artifacts()))


def test_a_read_only_registry_can_be_read_and_planned(bench: Bench, plan: Plan, tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("a read-only mount needs root")
    place = tmp_path / "mounted"
    place.mkdir()
    if subprocess.run(["mount", "--bind", bench.root, place], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let root mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        assert make_plan(plan.recipe, place).step("polish").complete
        assert main(["verify", "--root", str(place)]) == 0
        with pytest.raises(RegistryError, match="the registry is read-only") as error:
            import_model(Registry(place), str(outside_model(tmp_path / "m")))
        assert "nothing was imported" in str(error.value.remedy)
        items = unneeded(Registry(place), [])
        with pytest.raises(RegistryError, match="could not be removed: the registry is read-only"):
            remove(Registry(place), items)
    finally:
        subprocess.run(["umount", place], check=True)
