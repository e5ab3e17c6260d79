"""Programs that a model wrote: the good ones are paid, and the hostile ones neither paid nor able to do anything."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.__main__ import main
from tests.bench import PROJECT
from tests.conftest import make_tiny_model

FOLDER = PROJECT / "recipes" / "code"
GOOD = "def add(a, b):\n    return a + b\n"
TESTS = [{"arguments": [1, 2], "value": 3}, {"arguments": [-1, 1], "value": 0}, {"arguments": [0.1, 0.2], "value": 0.3}]


def _reward() -> Any:
    spec = importlib.util.spec_from_file_location("code_reward", FOLDER / "code_reward.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REWARD = _reward()


def paid(program: str, tests: list[dict] = TESTS, entry: str = "add", finish: str = "stop", **options: Any) -> float:
    text = f"Here it is:\n```python\n{program}```\n"
    (value,) = REWARD.unit_tests([text], {"entry": [entry], "tests": [tests]}, [finish], **{"seconds": 2, **options})
    return float(value)


def test_a_right_program_is_paid_and_a_wrong_one_is_not() -> None:
    assert paid(GOOD) == 1.0
    assert paid(GOOD.replace("a + b", "a - b")) == 0.0
    assert paid(GOOD.replace("a + b", "abs(a) + b")) == 0.0  # two of three
    assert paid(GOOD.replace("a + b", "abs(a) + b"), partial=True) == pytest.approx(2 / 3)
    assert paid(GOOD, finish="length") == 0.0
    assert paid("def add(a, b) return\n") == 0.0


def test_modules_that_compute_are_there_and_values_are_compared_as_data() -> None:
    assert paid("import math, re\nfrom collections import Counter\ndef add(a, b):\n    return math.fsum([a, b])\n") == 1
    true = [{"arguments": [1], "value": True}]
    assert [paid(f"def add(a):\n    return {value}\n", true) for value in ("a == 1", "1", "'True'")] == [1, 0, 0]
    pairs = [{"arguments": [], "value": {"a": [1, 2]}}]
    assert paid("def add():\n    return {'a': (1, 2)}\n", pairs) == 1
    assert paid("def add():\n    return {'a': (1, 2, 3)}\n", pairs) == 0


def test_a_program_that_says_it_equals_everything_is_not_believed() -> None:
    program = "class Same(int):\n    __eq__ = lambda self, other: True\n    __hash__ = None\n"
    assert paid(program + "def add(a, b):\n    return Same(7)\n") == 0.0


@pytest.mark.parametrize(
    "program",
    [
        "import sys\nsys.exit(0)\n",
        "import os\nos._exit(0)\n",
        "def add(a, b):\n    raise SystemExit(0)\n",
        "import os, json\nos.write(1, json.dumps([{'value': 3}] * 3).encode())\nos._exit(0)\n",
        "print('shut\\n[{\"value\": 3}]')\ndef add(a, b):\n    print('passed')\n",
        "import builtins\nbuiltins.AssertionError = Exception\nbuiltins.isinstance = lambda *a: True\n"
        "import json\njson.dumps = lambda *a: '[{\"value\": 3}]'\ndef add(a, b):\n    return 'right'\n",
        "import sys\nframe = sys._getframe()\nwhile frame:\n    frame.f_globals.pop('results', None)\n"
        "    frame = frame.f_back\ndef add(a, b):\n    return None\n",
        "del globals()['__builtins__']\n",
        "def add(a, b):\n    return input()\n",
        "import sys\ndef add(a, b):\n    return sys.stdin.read() or open(0).read()\n",
    ],
    ids=["exit", "os_exit", "exit_in_a_call", "fake_answer", "fake_verdict", "patched", "frames", "deleted", "input",
         "stdin"],
)  # fmt: skip
def test_what_only_pretends_is_not_paid(program: str) -> None:
    assert paid(program) == 0.0
    assert paid(GOOD) == 1.0, "and the next one is judged as ever"


@pytest.mark.parametrize(
    "program",
    [
        "while True:\n    pass\n",
        "import time\ntime.sleep(60)\n",
        "def add(a, b):\n    return add(a, b) + 2 ** 10**10\n",
    ],
    ids=["loop", "sleep", "power"],
)
def test_a_program_without_end_is_killed_in_time(program: str) -> None:
    begun = time.monotonic()
    assert paid(program, seconds=1) == 0.0
    assert time.monotonic() - begun < 15  # the interpreter's start is in it


def test_memory_and_what_is_written_are_bounded() -> None:
    assert paid("held = [bytearray(1 << 20) for _ in range(100_000)]\n" + GOOD) == 0.0
    held = "held = bytearray(160 << 20)\n" + GOOD
    assert (paid(held, memory_mb=128), paid(held, memory_mb=512, seconds=5)) == (0.0, 1.0)
    assert paid("import os\nwhile True:\n    os.write(1, b'x' * 65536)\n") == 0.0
    assert paid("def add(a, b):\n    return 'x' * (1 << 26)\n") == 0.0


def test_no_file_is_opened_no_socket_and_no_process(tmp_path: Path) -> None:
    target, secret = tmp_path / "written", tmp_path / "secret"
    secret.write_text("3")
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    tries = {
        "write": f"open({str(target)!r}, 'w').write('x')",
        "read": f"open({str(secret)!r}).read()",
        "list": f"__import__('os').listdir({str(tmp_path)!r})",
        "fork": "__import__('os').fork()",
        "run": f"__import__('os').execv('/bin/touch', ['touch', {str(target)!r}])",
        "kill": "__import__('os').kill(__import__('os').getppid(), 9)",
        "socket": f"__import__('_socket').socket().connect(('127.0.0.1', {port}))",
        "native": "__import__('ctypes').CDLL(None).fork() + 1",  # around Python: the kernel refuses, too
        "thread": "__import__('_thread').start_new_thread(print, ()) and 0",
    }
    for name, attempt in tries.items():
        told = f"def add(a, b):\n    try:\n        {attempt}\n    except BaseException as error:\n"
        told += "        return [type(error).__name__, getattr(error, 'errno', None)]\n    return 'done'\n"
        (answer,) = REWARD.run(
            {"program": told, "entry": "add", "calls": [[1, 2]], "seconds": 5, "memory_mb": 512, "filter": True}
        )
        refused = ["PermissionError", 1], ["RuntimeError", None], ["ModuleNotFoundError", None]
        assert answer["value"] in refused or (name, answer["value"]) == ("native", "done"), name
    listening.setblocking(False)
    with pytest.raises(BlockingIOError):
        listening.accept()
    listening.close()
    assert not target.exists()
    native = "def add():\n    return __import__('ctypes').CDLL(None).fork()\n"
    assert paid(native, [{"arguments": [], "value": -1}]) == 1.0, "fork() says -1 to native code as well"


def test_a_fork_bomb_makes_no_process() -> None:
    bomb = "import os\nmade = 0\nfor _ in range(1000):\n    try:\n        made += bool(os.fork())\n"
    bomb += "    except OSError:\n        pass\ndef add():\n    return made\n"
    assert paid(bomb, [{"arguments": [], "value": 0}]) == 1.0


def test_without_a_filter_nothing_runs_unless_that_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (FOLDER / "code_sandbox.py").read_text().replace('"x86_64":', '"other":').replace('"aarch64":', '"else":')
    (tmp_path / "code_sandbox.py").write_text(text)
    monkeypatch.setattr(REWARD, "SANDBOX", tmp_path / "code_sandbox.py")
    with pytest.raises(RuntimeError, match="the sandbox did not start: OSError: no filter of system calls for"):
        paid(GOOD)
    assert paid(GOOD, filter=False) == 1.0
    writes = f"with open({str(tmp_path / 'written')!r}, 'w') as file:\n    file.write('x')\n"
    assert paid(writes + GOOD, filter=False) == 0.0, "rlimits still hold"


def test_every_solution_of_the_recipe_s_problems_is_paid_and_the_files_are_what_their_generator_makes(
    tmp_path: Path,
) -> None:
    made = (FOLDER / "make_problems.py").read_text()
    (tmp_path / "make_problems.py").write_text(made)
    assert subprocess.run([sys.executable, "make_problems.py"], cwd=tmp_path, check=False).returncode == 0
    for name in ("problems.jsonl", "held_out.jsonl"):
        assert (tmp_path / name).read_text() == (FOLDER / name).read_text()
        rows = [json.loads(line) for line in (FOLDER / name).read_text().splitlines()]
        columns = {key: [row[key] for row in rows] for key in ("entry", "tests")}
        assert REWARD.unit_tests([row["answer"] for row in rows], columns, ["stop"] * len(rows)) == [1.0] * len(rows)


@pytest.mark.slow
def test_the_recipe_runs_with_a_tiny_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_tiny_model(tmp_path / "model", seed=0) / "config.json"
    config.write_text(config.read_text().replace('"max_position_embeddings": 128', '"max_position_embeddings": 512'))
    changes = {"policy": tmp_path / "model", "steps": 1, "max_completion_tokens": 16, "max_prompt_tokens": 320}
    words = ["run", "code/unit_tests", "--root", str(tmp_path / "runs"), "--hardware", "cpu_transformers"]
    for key, value in changes.items():
        words += ["--set", f"steps.tuned.{key}={value}"]
    assert main([*words, "--set", "evaluate.max_tokens=16"]) == 0, capsys.readouterr().err
    (row,) = (tmp_path / "runs" / "registry").glob("sparse_grpo-*/metrics.jsonl")
    assert json.loads(row.read_text().splitlines()[0])["reward"] == 0.0  # a random model writes no fenced block
