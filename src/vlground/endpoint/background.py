"""Coroutines in a thread of their own, handed out as they end."""

import asyncio
import sys
from collections.abc import Coroutine
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """An event loop that goes on while its user does something else.

    Used as a context: what still runs at its end is cancelled, at once.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="vlground-endpoint", daemon=True)
        self._ended: SimpleQueue[asyncio.Task[T]] = SimpleQueue()
        self.pending = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if sys.is_finalizing():  # a generator that was still held: waiting would never end
            return
        self.cancel()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - what it returns
        """Run a coroutine in the loop and wait for it.

        Must not be called while the interpreter ends, when the loop's thread stands still.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> None:
        """Run a coroutine in the loop; `take` gives what it returns."""
        self.pending += 1
        self._loop.call_soon_threadsafe(self._begin, coroutine)

    def take(self, wait: bool) -> list[T]:
        """What has ended by now.

        Args:
            wait: For the first one, if there is none.

        Raises:
            BaseException: What a coroutine raised.
        """
        found: list[T] = []
        while self.pending:
            try:
                task = self._ended.get(block=wait and not found)
            except Empty:
                break
            self.pending -= 1
            found.append(task.result())
        return found

    def cancel(self) -> None:
        """End what still runs, and wait until it has ended."""
        self.run(self._cancel())

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._loop.create_task(coroutine).add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # or the loop would tell those that nobody takes any more
        self._ended.put(task)

    async def _cancel(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
