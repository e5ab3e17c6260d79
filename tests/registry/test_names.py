"""What a name means when its step was made more than once, and what one damaged record does to the others."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.base.files import share_with_group, umask
from reasoning_pipeline.errors import RegistryError, as_storage_error
from reasoning_pipeline.registry.resolve import named, resolve_model
from reasoning_pipeline.registry.store import Artifact, Registry
from tests.bench import Bench


@pytest.fixture
def thrice(bench: Bench) -> list[Artifact]:
    """`polish` made under three learning rates, a day after one another."""
    made = []
    for day, rate in ((1, "1e-6"), (2, "2e-6"), (3, "3e-6")):
        plan = bench.plan(overrides=(f"steps.polish.learning_rate={rate}",))
        made += bench.publish(plan, "polish", created=f"2026-01-0{day}T00:00:00+00:00")
    return made


def test_a_name_is_the_newest_and_at_two_the_one_before(bench: Bench, thrice: list[Artifact]) -> None:
    artifacts = list(Registry(bench.root).artifacts())
    found = [named(artifacts, name) for name in ("polish", "small/polish", "polish@1", "polish@2", "polish@3")]
    assert [a and a.name for a in found] == [thrice[number].name for number in (2, 2, 2, 1, 0)]
    with pytest.raises(RegistryError, match=r"made 3 times, so there is no polish@4"):
        named(artifacts, "polish@4")


def test_a_recipe_never_takes_the_newest_of_several(bench: Bench, thrice: list[Artifact]) -> None:
    with pytest.raises(RegistryError, match=r"'polish' was made 3 times: .*2026-01-03 00:00"):
        resolve_model("polish", bench.root, newest=False)


def test_a_step_of_two_recipes_is_told_with_the_choices(bench: Bench, thrice: list[Artifact]) -> None:
    plan = bench.plan(lambda recipe: recipe.update(name="other", seed=7))
    bench.publish(plan, "polish")
    with pytest.raises(RegistryError, match="is a step of 2 recipes") as refused:
        named(list(Registry(bench.root).artifacts()), "polish")
    assert refused.value.remedy == "name one of: other/polish, small/polish"


def test_show_says_when_in_what_recipe_and_what_changed(
    bench: Bench, thrice: list[Artifact], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "--root", str(bench.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small" and lines[1].split()[:3] == ["polish@3", "2026-01-01", "00:00"]
    assert lines[-2].split()[:3] == ["polish", "2026-01-03", "00:00"]
    assert lines[-1].strip() == "changed: learning_rate 2e-06 → 3e-06"
    assert max(map(len, lines)) <= 80
    assert main(["show", "--json", "--root", str(bench.root)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in shown["artifacts"]] == ["polish@3", "polish@2", "polish"]
    assert shown["artifacts"][2]["artifact"] == thrice[2].name and shown["unreadable"] == []


def test_one_record_that_cannot_be_read_does_not_hide_the_others(
    bench: Bench, thrice: list[Artifact], capsys: pytest.CaptureFixture[str]
) -> None:
    (thrice[0].folder / "record.json").write_text("{")
    assert main(["show", "--root", str(bench.root)]) == 1
    out = capsys.readouterr().out
    assert "polish@2" in out and f"error: {thrice[0].name}/record.json: cannot be read" in out
    assert main(["show", "polish", "--root", str(bench.root)]) == 0


def test_a_read_that_was_refused_is_not_called_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "theirs.json"
    file.touch()
    error = PermissionError(13, "Permission denied", str(file))
    assert "cannot write here" in str(as_storage_error(error))  # it may be read, so a write was refused
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert f"cannot read {file}" in str(as_storage_error(error))


def test_a_registry_elsewhere_is_used_and_the_runs_stay_where_they_are(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, elsewhere = bench.changed(), bench.folder / "shared"
    assert main(["plan", str(recipe), "--root", str(bench.root), "--registry", str(elsewhere)]) == 0
    bench.publish(bench.plan(), "teacher_base")
    elsewhere.mkdir(exist_ok=True)
    (bench.root / "registry").rename(elsewhere / "registry")
    capsys.readouterr()
    assert main(["show", "--root", str(bench.root), "--registry", str(elsewhere)]) == 0
    assert "teacher_base" in capsys.readouterr().out
    assert main(["plan", str(recipe), "--root", str(bench.root), "--registry", str(elsewhere)]) == 0
    assert "1 of 13 steps complete" in capsys.readouterr().out


def test_what_is_made_in_a_folder_of_a_group_is_the_group_s(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        share_with_group(tmp_path)
        assert umask() == 0o022
        tmp_path.chmod(0o2775)
        share_with_group(tmp_path)
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o664
        assert (tmp_path / "folder").stat().st_mode & 0o020
    finally:
        os.umask(before)
