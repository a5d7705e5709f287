"""One event loop in the test's own thread, for all that the candidates' apps do.

What blocks this loop blocks the test, so blocking is easy to see.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Loop:
    """Runs coroutines one after the other, all in one task that lives as long as the loop.

    anyio ends its worker threads with the task that began them: a task for each request would
    start a new thread for each hash.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._work: asyncio.Queue[tuple[Coroutine[Any, Any, Any], asyncio.Future[Any]]] = (
            asyncio.Queue()
        )
        self._worker = self._loop.create_task(self._run_all())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end and return its result, or raise its exception."""
        done = self._loop.create_future()
        self._work.put_nowait((coroutine, done))
        return self._loop.run_until_complete(done)

    def close(self) -> None:
        """End the task, its worker threads and the loop."""
        self._worker.cancel()
        self._loop.run_until_complete(asyncio.gather(self._worker, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _run_all(self) -> None:
        while True:
            coroutine, done = await self._work.get()
            try:
                done.set_result(await coroutine)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                done.set_exception(error)
