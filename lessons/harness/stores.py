"""The stores as tests use them: each call is run to its end, and told to the learner."""

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from lessons.harness.transcript import Transcript, show

Run = Callable[[Coroutine[Any, Any, Any]], Any]
TOLD = ("add", "change", "remove")


class Waiting:
    """A store whose asynchronous methods are called like ordinary ones: `users.get("alice")`."""

    def __init__(self, store: Any, run: Run, transcript: Transcript) -> None:
        self.store = store
        self._run = run
        self._transcript = transcript

    def another(self, store: Any) -> "Waiting":
        """Return another store, to be used in the same way."""
        return Waiting(store, self._run, self._transcript)

    def run_by(self, run: Run) -> "Waiting":
        """Return the same store, whose calls something else runs to their end."""
        return Waiting(self.store, run, self._transcript)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.store, name)
        if not iscoroutinefunction(value):
            return value

        @wraps(value)
        def call(*args: Any, **changes: Any) -> Any:
            if name in TOLD:
                what = " ".join(f"{key}={show(changes[key])}" for key in changes)
                who = getattr(args[0], "username", args[0])
                self._transcript.note(f"in the store: {name} {who} {what}".rstrip())
            return self._run(value(*args, **changes))

        return call


def straight(call: Coroutine[Any, Any, Any]) -> Any:
    """Run a call of a store in memory to its end: it waits for its turn only, and needs no loop."""
    while True:
        try:
            call.send(None)
        except StopIteration as end:
            return end.value


def unwrapped(value: Any) -> Any:
    """Return the store itself, for the code that is graded. Anything else comes back as it is."""
    return value.store if isinstance(value, Waiting) else value
