"""A reward function of one's own: what it is handed, and what becomes of each way in which it can go wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import TypeAdapter

from reasoning_pipeline.records import Problem, Verdict
from reasoning_pipeline.rewards.config import Reward, named_files
from reasoning_pipeline.rewards.function import FaultyReward
from reasoning_pipeline.rewards.judge import RewardJudge

PROBLEMS = [
    Problem(id="a", question="1+1?", answer="2", meta={"level": 3}),
    Problem(id="b", question="2+2?", answer="4", meta={"tests": ["x"]}),
]
Judge = Callable[..., list[Verdict]]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """`judge(code)` asks the function `paid` of a file with this code about two texts of `a` and one of `b`."""

    def ask(code: str, **fields: Any) -> list[Verdict]:
        file = tmp_path / "my_rewards.py"
        file.write_text(code)
        found = named_files({"reward": {"kind": f"{file}:paid", "seconds": 20, **fields}})
        made = RewardJudge(TypeAdapter(Reward).validate_python(found["reward"]), found["reward_files"])
        a, b = PROBLEMS
        try:
            return made.judge([a, a, b], ["x", "yy", "zzz"], ["stop", "length", "stop"])
        finally:
            made.close()

    return ask


def test_it_is_handed_texts_columns_and_finishes_of_one_problem_at_a_time(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("factor = 2.0\n")
    verdicts = judge(
        "import json, helper\n"
        "def paid(texts, columns, finishes, *, bonus):\n"
        "    print('seen', json.dumps([texts, columns, finishes]))\n"  # what it prints must not look like a reply
        "    if columns['id'] == ['a', 'a']:\n"
        "        assert columns == {'id': ['a', 'a'], 'question': ['1+1?'] * 2, 'answer': ['2'] * 2, 'level': [3, 3]}\n"
        "        assert finishes == ['stop', 'length']\n"
        "        return [helper.factor, None]\n"
        "    assert columns['tests'] == [['x']]\n"
        "    return (bonus,)\n",
        options={"bonus": 0.25},
        weight=2,
    )
    assert [v.reward for v in verdicts] == [4.0, None, 0.5]
    assert [v.status for v in verdicts] == ["correct", "unjudged", "wrong"], "1 and above, before weights, is right"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def paid(t, c, f):\n    return [1 / 0]\n", "my_rewards.py:paid, over problem a: my_rewards.py:2: ZeroDiv"),
        ("def paid(t, c, f):\n    return [float('nan')] * len(t)\n", "over problem a: returned nan"),
        ("def paid(t, c, f):\n    return [1e999] * len(t)\n", "returned inf"),
        ("def paid(t, c, f):\n    return [1.0]\n", "over problem a: returned 1 values for 2 texts"),
        ("def paid(t, c, f):\n    return ['1'] * len(t)\n", "returned str '1', no number"),
        ("def paid(t, c, f):\n    return 1.0\n", "returned float 1.0, not a list"),
        ("def paid(t, c, f):\n    return {1, 2}\n", "JSON cannot hold"),
        ("def paid(t, c):\n    return [1.0]\n", "TypeError: paid"),
        ("import nothing_of_the_kind\n", "my_rewards.py:1: ModuleNotFoundError"),
        ("def paid(:\n", "my_rewards.py:1: SyntaxError"),
        ("paid = 3\n", "paid is a int, not a function"),
        ("x = 3\n", "no attribute 'paid'"),
    ],
)
def test_a_mistake_is_one_message_with_file_line_and_problem(judge: Judge, code: str, said: str) -> None:
    with pytest.raises(FaultyReward) as caught:
        judge(code)
    assert said in str(caught.value) and "\n  → " in str(caught.value)


def test_one_text_that_hangs_or_crashes_costs_only_itself(judge: Judge) -> None:
    hang = "def paid(t, c, f):\n    while 'yy' in t: pass\n    return [1.0] * len(t)\n"
    verdicts = judge(hang, seconds=0.5)
    assert [(v.status, v.reward) for v in verdicts] == [("correct", 1.0), ("timeout", None), ("correct", 1.0)]
    crash = "import os\ndef paid(t, c, f):\n    if 'zzz' in t: os._exit(7)\n    return [1.0] * len(t)\n"
    verdicts = judge(crash)
    assert [(v.status, v.reward) for v in verdicts] == [("correct", 1.0), ("correct", 1.0), ("error", None)]
    assert "exit status 7" in verdicts[2].rule


def test_one_that_always_hangs_ends_soon_and_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasoning_pipeline.rewards.function.MOST_LOST_IN_A_ROW", 3)
    file, told = tmp_path / "stuck.py", tmp_path / "told"
    file.write_text(
        f"import os, subprocess\ndef paid(t, c, f):\n    child = subprocess.Popen(['sleep', '600'])\n"
        f"    open({str(told)!r}, 'a').write(f'{{os.getpid()}} {{child.pid}}\\n')\n    child.wait()\n"
    )
    found = named_files({"reward": {"kind": f"{file}:paid", "seconds": 0.3}})
    made = RewardJudge(TypeAdapter(Reward).validate_python(found["reward"]), found["reward_files"])
    many = [Problem(id=f"p{i}", question="?", answer="") for i in range(500)]
    with pytest.raises(FaultyReward, match=r"stuck.py:paid, over problem p\d+: over 0.3 s; the 3. text in a row"):
        made.judge(many, ["x"] * 500, ["stop"] * 500)
    made.close()
    started = [int(pid) for line in told.read_text().splitlines() for pid in line.split()]
    assert 2 <= len(started) <= 2 * 2 * 3, "it was not asked 500 times"
    deadline = time.monotonic() + 60
    while any(_runs(pid) for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in started)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
