"""Coroutines end with their context, and nothing is told that nobody asked for."""

import asyncio
import gc
import time

import pytest

from vlground.endpoint.background import Background


async def fail() -> int:
    raise ValueError("on purpose")


async def late(number: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return number


def test_what_ends_is_handed_out_once_in_that_order() -> None:
    with Background[int]() as background:
        for number, seconds in ((1, 0.2), (2, 0.1), (3, 0.0)):
            background.start(late(number, seconds))
        assert background.take(wait=False) in ([], [3])
        found: list[int] = []
        while background.pending:
            found += background.take(wait=True)
        assert background.take(wait=True) == [], "nothing is waited for that was not begun"
    assert found[-2:] == [2, 1]


def test_what_still_runs_is_ended() -> None:
    started = time.monotonic()
    with Background[int]() as background:
        background.start(late(1, 30))
    assert time.monotonic() - started < 5


def test_the_second_failure_is_not_told_behind_the_first(caplog: pytest.LogCaptureFixture) -> None:
    with Background[int]() as background:
        background.start(fail())
        background.start(fail())
        background.run(asyncio.sleep(0.05))
        with pytest.raises(ValueError, match="on purpose"):
            background.take(wait=True)
    del background
    gc.collect()
    assert not caplog.records
