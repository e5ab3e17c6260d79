"""Which lines of a failed step's log are quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasoning_pipeline.run.failure import LINES_SHOWN, why_it_failed

# torchrun's, after a worker has failed; its libraries' lines shortened
EPILOGUE = """\
W1128 15:31:26.546000 8194 site-packages/torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 9151
E1128 15:31:26.584000 8194 site-packages/torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1)
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "<frozen runpy>", line 88, in _run_code
  File "site-packages/torch/distributed/run.py", line 1032, in <module>
    main()
  File "site-packages/torch/distributed/elastic/multiprocessing/errors/__init__.py", line 367, in wrapper
    return f(*args, **kwargs)
  File "site-packages/torch/distributed/run.py", line 1028, in main
    run(args)
  File "site-packages/torch/distributed/run.py", line 1019, in run
    elastic_launch(
  File "site-packages/torch/distributed/launcher/api.py", line 383, in launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
step FAILED
Root Cause (first observed failure):
  rank      : 1 (local_rank: 1)
  exitcode  : 1 (pid: 9153)
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
"""
WARNING = "[rank0]:[W1128 15:31:20.1 ProcessGroupNCCL.cpp:4115] using GPU 0 to perform barrier\n"
RANK_1 = """\
[rank1]: Traceback (most recent call last):
[rank1]:   File "step.py", line 4, in inner
[rank1]: ValueError: the micro batch of rank 1 is empty
"""
RANK_0 = """\
[rank0]: Traceback (most recent call last):
[rank0]: RuntimeError: Connection closed by peer
"""
EARLY = """\
Traceback (most recent call last):
  File "step.py", line 4, in <module>
ModuleNotFoundError: No module named 'nothing_here'
"""
OURS = "error: StaleWeights: the server holds other weights\n  → look at its log\n"


def quoted(log: Path, text: str, *, launched: bool = True) -> tuple[str, list[str]]:
    log.write_text(text)
    heading, *lines = why_it_failed(log, launched=launched).splitlines()
    return heading, [line.removeprefix("    ") for line in lines]


@pytest.mark.parametrize("error", [RANK_1, EARLY, OURS])
def test_behind_a_launcher_the_first_error_of_a_trainer_is_quoted(tmp_path: Path, error: str):
    after = RANK_0 if error is RANK_1 else ""  # the other rank fails because the first one is gone
    heading, lines = quoted(tmp_path / "log", f"training\n{WARNING}{error}{after}{EPILOGUE}")
    assert heading == "the first error in its log is" and lines == error.splitlines()


def test_ranks_that_write_at_the_same_time_are_told_apart(tmp_path: Path):
    mixed = "".join(
        f"{one}\n{other}\n" for one, other in zip(RANK_1.splitlines(), [*RANK_0.splitlines(), WARNING], strict=True)
    )
    assert quoted(tmp_path / "log", mixed + EPILOGUE)[1] == RANK_1.splitlines()


def test_of_a_long_traceback_the_beginning_and_the_end_are_shown(tmp_path: Path):
    frames = "".join(f"[rank1]:   frame {number}\n" for number in range(100))
    first, *_, last = RANK_1.splitlines()
    _, lines = quoted(tmp_path / "log", f"{first}\n{frames}{last}\n{EPILOGUE}")
    assert len(lines) == LINES_SHOWN and lines[:2] == [first, "…"] and lines[-1] == last


def test_where_no_trainer_said_anything_the_end_tells_by_what_it_was_killed(tmp_path: Path):
    heading, lines = quoted(tmp_path / "log", f"training\n{EPILOGUE}")
    assert heading == "its log ended with" and lines == EPILOGUE.splitlines()[-LINES_SHOWN:]


def test_without_a_launcher_the_end_of_the_log_is_quoted(tmp_path: Path):
    assert quoted(tmp_path / "log", f"{EARLY}going on\nkilled\n", launched=False) == (
        "its log ended with",
        [*EARLY.splitlines(), "going on", "killed"],
    )
    assert quoted(tmp_path / "log", "", launched=True) == ("its log ended with", [])
