"""How the tests of a lesson ended on a file."""

from dataclasses import dataclass, field

from lessons.harness.verdicts import PASSED


@dataclass
class Grade:
    """How the tests of a lesson ended on a file."""

    verdicts: dict[str, str] = field(default_factory=dict)  # of a test's parameters, the worst
    attacks: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(
        default_factory=dict
    )  # by the names of tests with their parameters, what they said
    lines: dict[str, int] = field(default_factory=dict)  # by the same, where in their file
    sentence: str = ""  # why it could not be graded
    unfinished: str = ""  # the test that ended the process, if one did

    @property
    def passed(self) -> int:
        return sum(verdict == PASSED for verdict in self.verdicts.values())

    @property
    def refused(self) -> int:
        return sum(self.verdicts[name] == PASSED for name in self.attacks)
