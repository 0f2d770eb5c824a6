"""A connection in the background, as long as a run asks."""

import sys
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Generic, Self, TypeVar

from vlground.endpoint.background import Background
from vlground.endpoint.connection import Connection, Endpoint

T = TypeVar("T")


class Talk(Generic[T]):
    """Opens a connection in a thread of its own, and closes both.

    Args:
        endpoint: With whom.

    Attributes:
        background: Where requests run.
        connection: Open inside the context.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.background: Background[T] = Background()
        self._session: AbstractAsyncContextManager[Connection] = endpoint.connect()
        self._told = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.background)
            self.connection: Connection = self.background.run(self._session.__aenter__())
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if sys.is_finalizing():
            return
        with self._open:
            self.background.cancel()  # first: what runs would take the end for a failure
            self.background.run(self._session.__aexit__(None, None, None))

    def new_calls(self) -> int:
        """Requests that were sent since this was asked last."""
        new, self._told = self.connection.calls - self._told, self.connection.calls
        return new
