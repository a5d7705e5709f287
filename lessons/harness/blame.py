"""Whose fault a failure is: whichever part of the reference makes the test pass.

A failed test is run again with the reference's part in the place of one of the learner's at a
time. No words are matched, and nothing is guessed: the part that is named is one whose repair is
enough.
"""

from collections.abc import Sequence

import pytest
from _pytest.runner import runtestprotocol

from lessons.harness.candidate import Candidate

AT_MOST = 12  # parts tried for one failure
RUNS = 60  # after which no further failure is looked at; one takes some 30 ms


def blame(items: Sequence[pytest.Function], candidate: Candidate) -> dict[str, list[str]]:
    """Return, for failed tests by name, the parts whose replacement makes them pass.

    One, if one is enough; else all of them, if that is enough; else none. Without a reference
    nothing can be tried, and no test is among them.
    """
    if candidate.reference is None:
        return {}
    names, found, runs = candidate.suspects[:AT_MOST], dict[str, list[str]](), 0
    for item in items:
        if runs > RUNS:
            break
        known = [name for parts in found.values() for name in parts]
        in_turn = [[name] for name in sorted(names, key=lambda name: name not in known)]
        found[item.originalname] = []
        for parts in [*in_turn, *([names] if len(names) > 1 else [])]:
            runs += 1
            if _passes(item, candidate, *parts):
                found[item.originalname] = parts
                break
    return found


def _passes(item: pytest.Item, candidate: Candidate, *names: str) -> bool:
    with candidate.with_reference_for(*names):
        item._initrequest()  # type: ignore[attr-defined]
        # The parent as what comes next: the test's own fixtures end, those of the session stay.
        reports = runtestprotocol(item, log=False, nextitem=item.parent)  # type: ignore[arg-type]
    return all(report.passed for report in reports)
