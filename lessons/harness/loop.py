"""One event loop in the test's own thread, for all that the candidates' apps do.

What blocks this loop blocks the test, so blocking is easy to see.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from lessons.harness.escapes import Escape, contained
from lessons.harness.output import kept_output

Call = Coroutine[Any, Any, Any]
End = tuple[Any, BaseException | None]  # what a call returned, or what it raised
Work = asyncio.Queue[tuple[Call, asyncio.Future[End]] | None]


class Loop:
    """Runs coroutines one after the other, all in one task that lives as long as the loop.

    anyio ends its worker threads with the task that began them: a task for each request would
    start a new thread for each hash.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._begin()

    def run(self, coroutine: Call) -> Any:
        """Run a coroutine to its end and return its result, or raise its exception.

        Raises Escape for what would end the loop as well.
        """
        done = self._done = self._loop.create_future()
        self._work.put_nowait((coroutine, done))
        try:
            with contained(), kept_output():
                result, error = self._loop.run_until_complete(done)
        except Escape:  # a task beside it ended the loop; the screen says so
            self._loop.set_exception_handler(lambda *_: None)
            self._end_all()
            self._begin()
            raise
        with contained():
            if error is not None:
                raise error
        return result

    def close(self) -> None:
        """End the task, what else is left, its worker threads and the loop."""
        self._end_all()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _end_all(self) -> None:
        """Cancel every task. Each that ends with what ends the loop costs a turn."""
        self._worker.remove_done_callback(self._replace)
        self._work.put_nowait(None)  # for a cancellation that another exception takes the place of
        while left := asyncio.all_tasks(self._loop):
            for task in left:
                task.cancel()
            with suppress(Escape), contained():
                self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    def _begin(self) -> None:
        self._work: Work = asyncio.Queue()
        self._done: asyncio.Future[End] = self._loop.create_future()
        self._worker = self._loop.create_task(_run_all(self._work))
        self._worker.add_done_callback(self._replace)

    def _replace(self, worker: asyncio.Task[None]) -> None:
        """Go on without the task: the learner's code has cancelled it."""
        if worker is self._worker:
            if not self._done.done():
                self._done.set_result((None, asyncio.CancelledError()))
            self._begin()


async def _run_all(work: Work) -> None:
    while True:
        call = await work.get()
        if call is None:
            return
        coroutine, done = call
        end: End = None, None
        try:
            end = await coroutine, None
        except BaseException as error:
            end = None, error  # as a result: asyncio hangs on some exceptions
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            done.set_result(end)
