"""What the owner sees: a table, and what mallory did where she was let in. ASCII, 80 columns."""

import textwrap
from collections.abc import Sequence

from lessons.harness.catalogue import find_lessons, shown
from lessons.harness.your_app.findings import FAILING, Finding

WIDTH = 80
SIGNS = {"refused": "refused", "open": "OPEN", "accepted": "accepted"}


def lesson_path(number: str) -> str:
    """Return the page that teaches the repair."""
    return next((shown(each.readme) for each in find_lessons() if each.number == number), "")


def heading(name: str, requests: int, seconds: float) -> str:
    return f"The attacks on {name}: {requests} requests, {seconds:.0f} s"


def table(findings: Sequence[Finding]) -> list[str]:
    """Return a line for each attack that was tried, and one for each reason why others were not."""
    lines = []
    reasons: dict[str, list[str]] = {}
    for each in findings:
        if each.status == "not tried":
            reasons.setdefault(each.why, []).append(each.name)
            continue
        level = each.level if each.status == "open" else ""
        lines.append(f"{each.lesson}  {each.name:<27} {SIGNS[each.status]:<9} {level}".rstrip())
        if each.why:
            lines += wrapped(each.why, " " * 8)
    if reasons:
        lines += ["", "Not tried:"]
    for why, names in reasons.items():
        lines += wrapped(", ".join(names), "    ")
        lines += wrapped(why, " " * 8)
    return lines


def details(findings: Sequence[Finding]) -> list[str]:
    """Return what happened in each attack for which the run is red, worst first."""
    lines: list[str] = []
    for each in _worst(findings):
        lines += ["", f"--- {each.name} ({each.level}: open) ".ljust(WIDTH, "-")]
        lines += wrapped(f"{each.title[0].upper()}{each.title[1:]}. {each.authority}", "")
        lines.append("")
        lines += [f"    {line}" for line in each.transcript]
        lines += wrapped(each.why, "    ", first=">   ")
        lines.append(f"    read {lesson_path(each.lesson)}")
    return lines


def summary(findings: Sequence[Finding], made: Sequence[str]) -> list[str]:
    """Return the counts, what was made, and the next step."""
    counts = {
        level: sum(each.level == level for each in _open(findings))
        for level in ("break-in", "leak", "hardening")
    }
    statuses = [each.status for each in findings]
    order = ("refused", "open", "accepted", "not tried")
    line = ", ".join(f"{statuses.count(each)} {each}" for each in order if each in statuses)
    lines = ["", line]
    if statuses.count("open"):
        told = [f"{counts[level]} {level}" for level in counts if counts[level]]
        lines[-1] += f" ({', '.join(told)})"
    if made:
        lines += wrapped(
            f"{len(made)} accounts were made for this, all named mallory...; the app keeps them."
        )
    failing = _worst(findings)
    hardening = [each for each in _open(findings) if each.level not in FAILING]
    if failing:
        first = failing[0]
        lines += wrapped(f"next   {first.name}: read {lesson_path(first.lesson)}")
        if hardening:
            lines += wrapped(
                "       (--report=FILE.md has what happened in all that is open.)", "       ", ""
            )
    elif hardening:
        lines += wrapped("Nobody gets in. What is open are walls that others lean on.")
    elif "not tried" in statuses:
        lines += wrapped("Nobody gets in, by what was tried. What was not says why.")
    else:
        lines += wrapped("Nobody gets in.")
    return lines


def _worst(findings: Sequence[Finding]) -> list[Finding]:
    return sorted((each for each in findings if each.fails), key=lambda one: one.level)


def _open(findings: Sequence[Finding]) -> list[Finding]:
    return [each for each in findings if each.status == "open"]


def wrapped(text: str, indent: str = "", first: str | None = None) -> list[str]:
    """Return a text in lines that fit, in ASCII."""
    plain = text.encode("ascii", "backslashreplace").decode()
    return textwrap.wrap(
        plain,
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
