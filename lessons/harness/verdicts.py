"""What a test's end means."""

from collections.abc import Iterator
from contextlib import contextmanager

PASSED = "passed"  # for an attack: refused
WAITS = "waits"  # for a TODO that is still to write
WRONG = "wrong"  # what the attack needs as its background does not work
OPEN = "open"  # by its assertion: the attack succeeded; of a building test: it behaves wrongly
BROKEN = "broken"  # the module could not be loaded or called

_SEVERITY = (PASSED, WAITS, OPEN, WRONG, BROKEN)


def worse(one: str, other: str) -> str:
    """Return the worse of two verdicts."""
    return max(one, other, key=_SEVERITY.index)


class NotBuilt(AssertionError):
    """The behaviour that the attack needs as its background is not there."""


class Unwritten(NotBuilt):
    """Some TODOs are still to write."""

    def __init__(self, message: str, todos: set[int]) -> None:
        super().__init__(message)
        self.todos = todos


class Refused(AssertionError):
    """What stands in for a database does not take a statement; the message says why."""


class BrokenCandidate(Exception):
    """The graded file cannot be loaded or called; the message says where, in one sentence."""


@contextmanager
def twin() -> Iterator[None]:
    """Guard the legitimate half of an attack test.

    A refusal counts only beside its twin that differs in one thing and is accepted. When the
    twin fails, the attack was not refused: what it attacks is not built.
    """
    try:
        yield
    except (NotBuilt, BrokenCandidate):
        raise
    except Exception as error:
        message = str(error).partition("\n")[0] or type(error).__name__
        raise NotBuilt(f"First let the right one in: {message}") from error


@contextmanager
def only_raises(name: str, *promised: type[Exception]) -> Iterator[None]:
    """Turn any other exception of the candidate's function `name` into a failed assertion."""
    try:
        yield
    except (NotBuilt, BrokenCandidate, Refused, *promised):
        raise
    except Exception as error:
        only = " or ".join(each.__name__ for each in promised)
        promise = f"Only {only} is promised" if only else "It promises never to raise"
        notes = getattr(error, "__notes__", [type(error).__name__])
        raise AssertionError(f"{name} raised {notes[-1]}. {promise}.") from error


def check_type(name: str, value: object, expected: type) -> None:
    """Assert that the candidate's function `name` returned the type that it promises."""
    got = "nothing. Is a `return` missing?" if value is None else f"{value!r:.40}."
    assert isinstance(value, expected), f"{name} must return a {expected.__name__}, not {got}"


def verdict_of(error: BaseException | None) -> str:
    """Classify how a test ended."""
    match error:
        case None:
            return PASSED
        case Unwritten():
            return WAITS
        case NotBuilt():
            return WRONG
        case BrokenCandidate():
            return BROKEN
        case AssertionError():
            return OPEN
        case _:  # the test itself got something else than it needs to go on
            return WRONG
