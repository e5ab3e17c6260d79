"""What a thread of its own promises to whoever hands it work."""

from __future__ import annotations

import threading
import time

import pytest

from reasoning_pipeline.base.behind import Behind


def test_all_that_waits_is_taken_at_once_in_order_and_leaving_waits_for_it():
    begun, free, taken = threading.Event(), threading.Event(), []

    def do(batch: list[int]) -> None:
        begun.set()
        free.wait(60)
        taken.append(batch)

    with Behind(do, name="test", most=3) as behind:
        behind.put(0)
        begun.wait(60)  # taken alone; the others arrive while it is worked on
        for item in range(1, 8):
            behind.put(item)
        free.set()
    assert taken == [[0], [1, 2, 3], [4, 5, 6], [7]]


def test_what_goes_wrong_is_raised_where_work_is_handed_over():
    def do(batch: list[int]) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Behind(do, name="test") as behind:
        for item in range(1000):
            behind.put(item)
            time.sleep(0.01)
        pytest.fail("at once, not when everything was handed over")


def test_an_error_of_the_caller_is_not_hidden_by_one_of_the_thread():
    def do(batch: list[int]) -> None:
        raise OSError("disk full")

    with pytest.raises(KeyError), Behind(do, name="test") as behind:
        behind.put(1)
        raise KeyError("the caller's own")


def test_nothing_handed_over_is_no_work():
    with Behind(lambda batch: pytest.fail("nothing to do"), name="test"):
        pass
