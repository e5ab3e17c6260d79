"""What stands around the code: the site's pages and links, the image's recipe, the citation."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import reasoning_pipeline
from tests.bench import PROJECT

BIN = Path(sys.executable).parent


def test_every_page_of_the_docs_is_in_the_sites_navigation():
    pages = {str(path.relative_to(PROJECT / "docs")) for path in (PROJECT / "docs").rglob("*.md")}
    site = yaml.safe_load((PROJECT / "mkdocs.yml").read_text())
    named = {word for part in site["nav"] for word in _words(part)}
    assert pages - named - set(site["exclude_docs"].split()) == set()


def test_the_floors_in_the_docs_are_those_that_are_held():
    held = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = [{room.strip().removeprefix("reasoning_pipeline.") for room in layer.split("|")} for layer in held]
    told = re.findall(r"^\| \d+ \| (.*) \|$", (PROJECT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    named = [{re.sub(r"/$|\.py$", "", name) for name in re.findall(r"`([^`]+)`", line)} for line in told]
    assert named == rooms


def test_the_readme_names_every_room():
    tree = (PROJECT / "README.md").read_text().partition("## Where things live")[2]
    package = PROJECT / "reasoning_pipeline"
    rooms = [path.parent.name for path in (*package.glob("*/__init__.py"), *package.glob("workflows/*/__init__.py"))]
    assert len(rooms) > 20 and [room for room in rooms if f"{room}/" not in tree] == []


@pytest.mark.slow
def test_the_site_is_built_and_its_links_lead_somewhere(tmp_path: Path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    built = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    front = (tmp_path / "site" / "index.html").read_text()
    assert 'href="evidence.html"' in front and 'href="reference/stages.html"' in front


def test_the_image_is_written_as_images_should_be():
    found = subprocess.run(
        [BIN / "hadolint", PROJECT / "requirements" / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_the_citation_names_this_version():
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert cited["version"] == reasoning_pipeline.__version__ and cited["cff-version"] == "1.2.0"


def _words(part: object) -> list[str]:
    if isinstance(part, dict):
        return [word for inner in part.values() for word in _words(inner)]
    return [word for inner in part for word in _words(inner)] if isinstance(part, list) else [str(part)]
