"""Nothing half made is ever an artifact, nothing published is ever lost, and a name finds one model or says why not."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.models.outside import folder_digests
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.registry import store
from reasoning_pipeline.registry.resolve import resolve_model
from reasoning_pipeline.registry.store import RECORD, Artifact, Registry, read_record
from tests.bench import MODEL_FILES, OUTSIDE_FILES, Bench, record, write_files


@pytest.fixture
def plan(bench: Bench) -> Plan:
    return bench.plan()


@pytest.fixture
def step(plan: Plan) -> PlannedStep:
    return plan.step("teacher_base")


@pytest.fixture
def work(plan: Plan, step: PlannedStep) -> Path:
    """A finished step's files, not published yet."""
    return write_files(plan.registry.root / "work" / step.output, MODEL_FILES | {"deep/metrics.jsonl": "{}\n"})


def edit(artifact: Artifact, **fields: Any) -> None:
    path = artifact.folder / RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


# --- publishing ------------------------------------------------------------------------------------------------------


def test_publishing_moves_the_files_and_writes_what_they_are(plan: Plan, step: PlannedStep, work: Path):
    artifact = plan.registry.publish(work, record(step, "small"))
    assert not work.exists()
    assert artifact.folder == plan.registry.folder / f"pretrain-{step.fingerprint[:16]}"
    assert set(artifact.record.files) == {"config.json", "model.safetensors", "deep/metrics.jsonl"}
    entry = artifact.record.files["model.safetensors"]
    assert (entry.bytes, entry.sha256) == (7, hashlib.sha256(b"weights").hexdigest())
    assert plan.registry.find("pretrain", step.fingerprint) == artifact == next(plan.registry.artifacts())
    assert plan.registry.verify(artifact) == []
    assert str(plan.registry.root) not in (artifact.folder / RECORD).read_text()


def test_the_record_comes_last_and_before_it_there_is_no_artifact(
    plan: Plan, step: PlannedStep, work: Path, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        """Like SIGKILL: no handler runs."""

    # killed at each durable step in turn: hashing, syncing, writing the record, renaming
    for place in ("file_digest", "sync", "write_json", "rename_folder"):
        with monkeypatch.context() as patch:

            def killed(*arguments: object) -> None:
                raise Killed

            patch.setattr(store, place, killed)
            with pytest.raises(Killed):
                plan.registry.publish(work, record(step, "small"))
        assert plan.registry.find("pretrain", step.fingerprint) is None
        assert list(plan.registry.artifacts()) == []
        assert (work / "model.safetensors").read_text() == "weights"
    assert set(plan.registry.publish(work, record(step, "small")).record.files) == set(MODEL_FILES) | {
        "deep/metrics.jsonl"
    }


def test_what_a_crash_left_without_a_record_is_replaced(plan: Plan, step: PlannedStep, work: Path):
    debris = write_files(plan.registry.folder / step.output, {"model.safetensors": "half", "stray": ""})
    assert plan.registry.find("pretrain", step.fingerprint) is None
    artifact = plan.registry.publish(work, record(step, "small"))
    assert artifact.folder == debris and not (debris / "stray").exists()
    assert plan.registry.verify(artifact) == []


def test_publishing_again_keeps_the_older_artifact(plan: Plan, step: PlannedStep, work: Path):
    first = plan.registry.publish(work, record(step, "small"))
    write_files(work, MODEL_FILES | {"model.safetensors": "others"})
    again = plan.registry.publish(work, record(step, "small", created="2030-01-01T00:00:00+00:00"))
    assert again == first and not work.exists()
    assert (first.folder / "model.safetensors").read_text() == "weights"


def test_two_runs_that_finish_the_same_step_at_once(
    plan: Plan, step: PlannedStep, work: Path, monkeypatch: pytest.MonkeyPatch
):
    # the other run publishes after this one looked and before it renames
    other = write_files(plan.registry.root / "other", MODEL_FILES)
    write_json = store.write_json

    def slow(path: Path, value: object) -> None:
        monkeypatch.setattr(store, "write_json", write_json)
        plan.registry.publish(other, record(step, "other"))
        write_json(path, value)

    monkeypatch.setattr(store, "write_json", slow)
    artifact = plan.registry.publish(work, record(step, "small"))
    assert artifact.record.recipe == "other" and not work.exists()
    assert plan.registry.verify(artifact) == []


# --- no space, no permission -----------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    path = folder / "other-people's-data"
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    return path


def test_a_full_disk_keeps_the_work_and_says_what_to_do(plan: Plan, step: PlannedStep, disk: Path):
    registry = Registry(disk)
    work = write_files(disk / "work" / step.output, MODEL_FILES)
    registry.folder.mkdir()
    ballast = fill(disk)
    with pytest.raises(RegistryError) as error:
        registry.publish(work, record(step, "small"))
    assert error.value.message == f"{step.output}: could not be published: no space left"
    assert error.value.remedy is not None and error.value.remedy.startswith("free space and run again")
    assert {path.name: path.read_text() for path in work.iterdir()} == MODEL_FILES
    assert list(registry.artifacts()) == []
    ballast.unlink()
    assert registry.verify(registry.publish(work, record(step, "small"))) == []


def test_a_read_only_registry_keeps_the_work_and_says_what_to_do(step: PlannedStep, disk: Path, tmp_path: Path):
    registry = Registry(disk)
    work = write_files(tmp_path / "work", MODEL_FILES)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(RegistryError) as error:
        registry.publish(work, record(step, "small"))
    assert error.value.message == f"{step.output}: could not be published: the registry is read-only"
    assert error.value.remedy is not None and error.value.remedy.startswith("make the folder writable")
    assert (work / "model.safetensors").read_text() == "weights"


@pytest.mark.parametrize(
    ("number", "sentence", "remedy"),
    [
        (errno.ENOSPC, "no space left", "free space"),
        (errno.EDQUOT, "the disk quota is used up", "free space"),
        (errno.EROFS, "the registry is read-only", "make the folder writable"),
        (errno.EACCES, "permission denied", "make the folder writable"),
        (errno.EIO, "Input/output error", "finished training is kept"),
    ],
)
def test_each_refusal_of_the_storage_has_its_sentence(
    plan: Plan, step: PlannedStep, work: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str, remedy: str
):
    def refuse(path: Path, value: object) -> None:
        raise OSError(number, "Input/output error")

    monkeypatch.setattr(store, "write_json", refuse)
    with pytest.raises(RegistryError) as error:
        plan.registry.publish(work, record(step, "small"))
    assert sentence in error.value.message and remedy in str(error.value.remedy)
    assert (work / "model.safetensors").read_text() == "weights"


# --- what is on disk is checked against its record -------------------------------------------------------------------


@pytest.fixture
def published(plan: Plan, step: PlannedStep, work: Path) -> Artifact:
    return plan.registry.publish(work, record(step, "small"))


def test_verify_finds_what_is_missing_short_or_changed(plan: Plan, published: Artifact):
    (published.folder / "config.json").unlink()
    (published.folder / "model.safetensors").write_text("weight")
    (published.folder / "deep" / "metrics.jsonl").write_text("[]\n")
    assert plan.registry.verify(published) == [
        f"{published.name}/config.json: missing",
        f"{published.name}/deep/metrics.jsonl: content differs from its record",
        f"{published.name}/model.safetensors: 6 bytes, expected 7",
    ]


def test_verify_finds_an_edited_identity(plan: Plan, published: Artifact):
    edit(published, identity=published.record.identity | {"stage_version": 9})
    (found,) = plan.registry.verify(Artifact(published.folder, read_record(published.folder)))
    assert found == f"{published.name}/record.json: its identity does not give its fingerprint; it was edited"


def test_verify_finds_a_folder_under_another_name(plan: Plan, published: Artifact):
    elsewhere = published.folder.rename(published.folder.with_name("pretrain-0000000000000000"))
    (found,) = plan.registry.verify(Artifact(elsewhere, read_record(elsewhere)))
    assert found == f"pretrain-0000000000000000/record.json: belongs to {published.name}"


def test_a_record_with_another_fingerprint_is_not_taken_for_the_step(plan: Plan, published: Artifact):
    edit(published, fingerprint="f" * 64)
    with pytest.raises(RegistryError, match="holds fingerprint ffffffffffffffff…, expected") as error:
        plan.registry.find("pretrain", published.record.fingerprint)
    assert "move the folder away" in str(error.value.remedy)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '{"schema_version": 3, "kind": "miracle"}',
            r"written by a newer version \(schema 3, this one reads up to 2\)",
        ),
        ('{"schema_version": 1, "kind": "checkpoint"}', r"record\.json: stage: Field required"),
        ("{", r"record\.json: cannot be read \(Expecting property name"),
        ("", r"record\.json: cannot be read \(Expecting value"),
        ("[]", r"record\.json: .*should be a valid dictionary"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_refused_with_its_place(
    plan: Plan, published: Artifact, text: str, sentence
):
    (published.folder / RECORD).write_text(text)
    for look in (lambda: plan.registry.find("pretrain", published.record.fingerprint), plan.registry.artifacts):
        with pytest.raises(RegistryError, match=sentence) as error:
            list(look() or ())
        assert published.name in error.value.message and error.value.remedy


def test_a_foreign_key_in_a_record_is_an_edit(plan: Plan, published: Artifact):
    edit(published, comment="mine")
    with pytest.raises(RegistryError, match="comment: Extra inputs"):
        plan.registry.find("pretrain", published.record.fingerprint)


def test_what_has_no_stable_form_gets_no_fingerprint():
    assert digest({"b": 1, "a": (0.5, None, True)}) == digest({"a": [0.5, None, True], "b": 1})
    assert digest({"a": 1}) != digest({"a": "1"}) != digest({"a": 1.0})
    for value in (float("nan"), float("inf"), {1: 2}, {"a": {3}}, Path("x"), b"x"):
        with pytest.raises(TypeError, match="fingerprint"):
            digest(value)


# --- from a name to a model ------------------------------------------------------------------------------------------


def test_a_model_is_found_by_step_by_recipe_and_by_the_beginning_of_its_name(bench: Bench):
    (artifact,) = bench.publish(bench.plan(), "polish")
    for name in ("polish", "small/polish", artifact.name, artifact.name[:-4], "extra_rl-"):
        model = resolve_model(name, bench.root)
        assert (model.folder, model.fingerprint) == (artifact.folder, artifact.record.fingerprint)
        assert model.name == f"polish ({artifact.name})" and model.prompt is not None


def test_its_prompt_comes_along(bench: Bench):
    bench.publish(bench.plan(), "polish", prompt={"suffix": "Think.", "thinking": True})
    prompt = resolve_model("polish", bench.root).prompt
    assert prompt is not None and (prompt.suffix, prompt.thinking) == ("Think.", True)


def test_a_moved_registry_still_resolves(bench: Bench, tmp_path: Path):
    (artifact,) = bench.publish(bench.plan(), "polish")
    moved = bench.root.rename(tmp_path / "elsewhere")
    model = resolve_model("polish", moved)
    assert model.folder == moved / "registry" / artifact.name
    assert Registry(moved).verify(next(Registry(moved).artifacts())) == []
    bench.root = moved
    assert bench.plan().step("polish").complete


def test_of_two_the_newest_is_meant_but_not_in_a_recipe(bench: Bench):
    one = bench.publish(bench.plan(), "polish", created="2026-01-02T03:04:05+00:00")[0]
    two = bench.publish(bench.plan(overrides=("steps.polish.seed=1",)), "polish", created="2026-01-03T03:04:05+00:00")[
        0
    ]
    assert resolve_model("polish", bench.root).folder == two.folder
    assert resolve_model("polish@2", bench.root).folder == one.folder
    with pytest.raises(RegistryError, match="'polish' was made twice") as error:
        resolve_model("polish", bench.root, newest=False)
    assert one.name in error.value.message and two.name in error.value.message
    assert resolve_model(one.name, bench.root, newest=False).folder == one.folder


def test_an_unknown_name_gets_a_suggestion(bench: Bench):
    bench.publish(bench.plan(), "polish", "rollouts", files=MODEL_FILES)
    with pytest.raises(RegistryError, match=r'no checkpoint in .*; did you mean "polish"\?'):
        resolve_model("polsh", bench.root)
    with pytest.raises(RegistryError, match="'rollouts' is no checkpoint"):  # it is, but of another kind
        resolve_model("rollouts", bench.root)
    with pytest.raises(RegistryError, match="'extra_rl' is a stage, which made extra_rl-"):
        resolve_model("extra_rl", bench.root)


def test_a_plain_folder_is_a_model_when_it_holds_one(bench: Bench, tmp_path: Path):
    folder = write_files(tmp_path / "model", OUTSIDE_FILES)
    model = resolve_model(str(folder), bench.root)
    assert (model.folder, model.name, model.prompt) == (folder, "model", None)
    assert model.fingerprint == digest(folder_digests(folder))


def test_a_published_folder_given_by_path_is_its_artifact(bench: Bench):
    polish, rollouts = bench.publish(bench.plan(), "polish", "rollouts")
    assert resolve_model(str(polish.folder), bench.root).fingerprint == polish.record.fingerprint
    with pytest.raises(RegistryError, match="holds rollouts, not a checkpoint"):
        resolve_model(str(rollouts.folder), bench.root)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "no config.json"),
        ({"model.safetensors": "weights"}, "no config.json"),
        ({"config.json": "{}"}, r"a model folder without weights \(no \*\.safetensors; found config\.json\)"),
        ({"config.json": "{}", "pytorch_model.bin": ""}, r"without weights .*found config\.json, pytorch_model\.bin"),
    ],
)
def test_a_folder_without_a_whole_model_says_what_is_missing(
    bench: Bench, tmp_path: Path, files: dict[str, str], sentence: str
):
    folder = tmp_path / "model"
    folder.mkdir()
    write_files(folder, files)
    with pytest.raises(RegistryError, match=sentence) as error:
        resolve_model(str(folder), bench.root)
    assert error.value.remedy


def test_a_checkpoint_that_lost_its_weights_is_refused(bench: Bench):
    (artifact,) = bench.publish(bench.plan(), "polish")
    (artifact.folder / "model.safetensors").unlink()
    with pytest.raises(RegistryError, match="a model folder without weights"):
        resolve_model("polish", bench.root)


def test_a_hub_name_that_cannot_be_had_has_a_remedy(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    asked = {}

    def offline(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(RegistryError, match="could not be fetched from the hub: no route to host") as error:
        resolve_model("Qwen/Qwen3-1.7B@abc", bench.root)
    assert (asked["name"], asked["revision"]) == ("Qwen/Qwen3-1.7B", "abc")
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])  # pickles are not even fetched
    assert "prefetch" in str(error.value.remedy)


def test_a_folder_s_fingerprint_is_its_model_files_wherever_it_lies(tmp_path: Path):
    folder = write_files(tmp_path / "model", MODEL_FILES)
    before = folder_digests(folder)
    write_files(folder, {".cache": "hidden", "README.md": "a card", "pytorch_model.bin": "a pickle, never read"})
    assert folder_digests(folder) == before
    folder = folder.rename(tmp_path / "moved")
    assert folder_digests(folder) == before
    for name in MODEL_FILES:
        text = (folder / name).read_text()
        (folder / name).write_text(text[:-1] + "!")  # the same length, the last byte changed
        assert folder_digests(folder) != before
        (folder / name).write_text(text)
    (folder / "chat_template.jinja").write_text("")
    assert folder_digests(folder) != before


def test_a_big_file_is_hashed_once_and_again_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from reasoning_pipeline.models import outside

    folder = write_files(tmp_path / "model", MODEL_FILES)
    hashed: list[str] = []
    file_digest = outside.file_digest
    monkeypatch.setattr(outside, "file_digest", lambda path: hashed.append(path.name) or file_digest(path))
    first = folder_digests(folder, tmp_path / "runs")
    folder_digests(folder, tmp_path / "runs")
    assert len(hashed) == 4  # too young to be sure that nothing changes within the same tick
    monkeypatch.setattr(outside, "SETTLED_SECONDS", 0.0)
    assert folder_digests(folder, tmp_path / "runs") == folder_digests(folder, tmp_path / "runs") == first
    assert len(hashed) == 6
    (folder / "model.safetensors").write_text("Weights")
    assert folder_digests(folder, tmp_path / "runs") != first
    assert hashed[6:] == ["model.safetensors"]
    (tmp_path / "runs" / "work" / outside.DIGESTS).write_text("{")
    folder_digests(folder, tmp_path / "runs")
    assert len(hashed) == 9


def test_a_hub_model_is_known_by_the_commit_that_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub.constants

    from reasoning_pipeline.models.outside import hub_fingerprint

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit, newer = "a" * 40, "b" * 40
    unfetched = hub_fingerprint("Qwen/Qwen3-1.7B")
    refs = write_files(tmp_path / "models--Qwen--Qwen3-1.7B" / "refs", {"main": commit})
    assert hub_fingerprint("Qwen/Qwen3-1.7B") == hub_fingerprint(f"Qwen/Qwen3-1.7B@{commit}") != unfetched
    write_files(refs, {"main": newer})  # the branch moved, and the new commit was fetched
    assert hub_fingerprint("Qwen/Qwen3-1.7B") == hub_fingerprint(f"Qwen/Qwen3-1.7B@{newer}")


def test_a_branch_is_fetched_before_anything_is_planned_to_run(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import huggingface_hub.constants

    from reasoning_pipeline.plan.selection import unfetched_models

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    def plan() -> Plan:
        return bench.plan(lambda r: r["steps"]["teacher_rl"].update(policy="Qwen/Qwen3-1.7B"))

    before = plan()
    assert unfetched_models(before) == ["Qwen/Qwen3-1.7B"]
    write_files(tmp_path / "models--Qwen--Qwen3-1.7B" / "refs", {"main": "a" * 40})
    after = plan()
    assert unfetched_models(after) == []
    assert after.step("teacher_rl").fingerprint != before.step("teacher_rl").fingerprint
    assert after.step("teacher_rl").identity["outside"]["policy"]["commit"] == "a" * 40
