"""What lesson 10's tests use: ids that requests bring along, forks, counts in a module."""

import itertools
import logging
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from lessons.harness.audit_lines import AUDIT, audit_lines, nobody_else
from lessons.harness.brought_ids import OF_VENDORS, is_brought, names_among, one_of_each_shape
from lessons.harness.elsewhere import CAN_FORK, run_in_a_fork
from lessons.harness.memory import is_changed, remembered

FORKS = pytest.mark.skipif(not CAN_FORK, reason="this system does not fork")


def test_an_id_is_known_by_a_part_of_it_in_any_spelling() -> None:
    """Without its dashes, in capitals, cut, or amid other letters. A short part may be chance."""
    trace = OF_VENDORS["traceparent"].split("-")[1]
    for spelled in (trace, trace.upper(), f"{trace[:16]}-0000", "-".join(trace[:20]), f"x{trace}y"):
        assert is_brought(spelled), spelled
    assert not is_brought("9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d" + trace[:8])
    assert len({*one_of_each_shape()}) > 20


def test_what_may_be_a_header_is_found_among_texts() -> None:
    """A sentence is none."""
    found = names_among(["X-Shop-Ticket", "http.response.start", "an app", "b3", ""])
    assert found == ["b3", "x-shop-ticket"]


@FORKS
def test_a_fork_returns_lines_and_ends() -> None:
    """Also where the call raises: then there are none."""
    assert run_in_a_fork(lambda: [str(os.getpid()), "two"])[1:] == ["two"]
    assert run_in_a_fork(lambda: [str(1 // 0)]) == []


@pytest.mark.parametrize(
    "kept",
    [
        lambda: itertools.count().__next__,
        lambda: iter(range(99)).__next__,
        lambda: iter([1] * 99).__next__,
        lambda: [].append,
        lambda: bytearray().append,
    ],
)
def test_whoever_counts_is_changed(kept: Callable[[], Any]) -> None:
    """In whatever it counts. Where a global is left out it may do as it likes."""
    module = ModuleType("solutions.counting")
    step = kept()
    vars(module)["left"] = [step.__self__]

    def call() -> None:
        step(*[7][: step.__name__ == "append"])

    assert is_changed(module, call)
    assert not is_changed(module, call, without=["left"])
    assert not is_changed(module, lambda: None)


def test_what_is_left_out_may_remember() -> None:
    """All others may not."""
    module = ModuleType("solutions.remembering")
    kept: list[str] = []
    vars(module)["kept"] = kept
    numbers = [str(number) for number in range(5)]
    assert remembered(module, kept.append, numbers)
    assert remembered(module, kept.append, numbers, without=["kept"]) is None


def test_what_was_there_before_is_not_remembered() -> None:
    """A short number stands in the path of somebody's folder, too."""
    module = ModuleType("solutions.remembering")
    vars(module)["folder"] = "/home/erin-141/workbook"
    numbers = ["101", "111", "121", "131", "141"]
    assert remembered(module, lambda number: None, numbers) is None
    assert remembered(module, lambda number: vars(module).update(last=number), numbers)


def test_nobody_else_hears_of_an_event() -> None:
    """The logger is as before when the block ends."""
    logger = logging.getLogger(AUDIT)
    with audit_lines() as lines, audit_lines() as others:
        before = [*logger.handlers], logger.propagate
        with nobody_else(lines):
            logger.warning("one")
        logger.warning("two")
        assert (logger.handlers, logger.propagate) == before
    assert (lines.text, others.text) == ("one\ntwo\n", "two\n")
