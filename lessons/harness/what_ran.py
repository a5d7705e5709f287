"""Whose fault a failure may be, where no reference can show it: one of the parts that ran.

The likeliest is the one that the test speaks of, then the one where a word seems to be missing,
then one that crashed and made a refusal of it, then one that another test shows to be wrong, then
the one that known mistakes point to, then the one that crashed or refused, then what runs in tests
that fail and not in others. If that one crashed in its own lines, none is suspected but those that
it asks; nor if all tests that fail are its own, and no other is known to make them say so.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from math import sqrt

from lessons.harness.candidate import Candidate
from lessons.harness.composite import FUNCTIONS, Part
from lessons.harness.screen import Outcome
from lessons.harness.signs import likeness, parts_that_say
from lessons.harness.slips import slips
from lessons.harness.verdicts import PASSED

# What a wrong value makes of a line, and no provider or caller does.
CRASH = re.compile(r", because of (?:Key|Attribute|Type|Name|Index|UnboundLocal)Error\b")
SAME = 0.9  # likeness of all failures; from here on it counts more than a line that was named


def blame_what_ran(failed: Outcome, outcomes: Sequence[Outcome], candidate: Candidate) -> None:
    """Give a failed test its suspects: the written parts that ran in it, the likeliest first.

    If that is one, it is at fault. Those where a word seems to be missing come before the others.
    """
    if candidate.module is None:
        return
    parts = candidate.module.parts
    ran = _ran_in(failed, candidate, parts)
    if len(ran) == 1:
        failed.at_fault = ran
    marked = failed.todo[1] if failed.todo else ""
    if not ran and marked in candidate.suspects:
        ran = [marked]  # it ran when the app was made: what it returned was called here
    asked = {name for name in ran if slips(parts[name], candidate.names)}
    crashed = candidate.part_at(failed.message) or candidate.part_at(failed.refusal)
    if crashed not in ran:  # what it called crashed, and is given
        crashed = candidate.part_at(failed.refusal.partition(", because of ")[0])
    stumbled = crashed if CRASH.search(failed.refusal) else None
    wrong = {test: said for each in outcomes for test, said in each.failures.items()}
    alone = [_ran_in(each, candidate, parts) for each in outcomes if each.is_wrong]
    surely = {ran[0] for ran in alone if len(ran) == 1}  # to be mended in any case
    known = likeness(candidate.lesson, wrong)
    saying = parts_that_say(candidate.lesson, failed.failures)
    failed.suspects = sorted(
        ran or candidate.suspects,
        key=lambda name: (
            not re.search(rf"(?:^|: ){name} ", failed.message),  # "authenticate_user must return"
            name not in asked,  # what was forgotten here may crash elsewhere
            name != stumbled,
            name not in surely,
            saying != {name},  # no other part is known to make this test say so
            known.get(name, 0) < SAME,
            name != crashed,
            -known.get(name, 0),
            -_suspicion(name, outcomes),
            name != marked,
        ),
    )
    likeliest = failed.suspects[0] if failed.suspects else ""
    own_tests = {each.todo[1] if each.todo else "" for each in outcomes if each.is_wrong}
    is_known = saying == {likeliest} == own_tests
    if asked <= {likeliest} and (likeliest == candidate.part_at(failed.message) or is_known):
        others = set() if is_known else _asked_by(likeliest, parts)
        failed.suspects = [name for name in failed.suspects if name in {likeliest, *others}]


def _ran_in(outcome: Outcome, candidate: Candidate, parts: Mapping[str, Part]) -> list[str]:
    """Return the written parts that ran in a test. A declaration cannot tell that it did."""
    return [
        name
        for name in candidate.suspects
        if name in outcome.ran or not isinstance(parts[name], FUNCTIONS)
    ]


def _asked_by(name: str, parts: Mapping[str, Part]) -> set[str]:
    """Return what a part names: by itself, or by a declaration, as dependencies are."""
    named = {each.id for each in ast.walk(parts[name]) if isinstance(each, ast.Name)}
    declared = [parts[each] for each in named & parts.keys() if isinstance(parts[each], ast.Assign)]
    for part in declared:
        named |= {each.id for each in ast.walk(part) if isinstance(each, ast.Name)}
    return named


def _suspicion(name: str, outcomes: Sequence[Outcome]) -> float:
    """Return how much a part runs in tests that fail and not in others (Ochiai's coefficient)."""
    wrong = [name in each.ran for each in outcomes if each.is_wrong]
    right = [name in each.ran for each in outcomes if each.verdict == PASSED]
    ran = sum(wrong) + sum(right)
    return sum(wrong) / sqrt(len(wrong) * ran) if ran else 0
