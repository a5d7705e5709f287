"""`pytest lessons --candidate-dir=PATH`: a class's work, one line for each student and lesson.

Whatever a hand-in does costs its own line only. What a grade is worth, README.md says.
"""

import json
import os
import signal
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from lessons.harness.catalogue import Lesson, find_lessons, lesson_of
from lessons.harness.grade import Grade
from lessons.harness.hand_in import Grader
from lessons.harness.screen import progress_line
from lessons.harness.submissions import HandIn, find_hand_ins

ALL_DONE, NOT_ALL, STOPPED, NOTHING = 0, 1, 2, 4  # exit codes
WIDEST = 24  # letters of a name, so that the rest has its place
LONGEST = 200  # letters of a sentence
NOT_GRADED = "Not graded: it was stopped before."
OPEN_DOORS = (
    "Note: this system does not let hand-ins be shut off. They can reach the network and your "
    "files. README.md says how to grade in a container."
)


def grade_class(folder: Path, chosen: list[Path], report: Path | None) -> int:
    """Print a line for each student and lesson; `report` is a file for the same as JSON.

    Returns 0 when everything is done, 1 when not, 2 after Ctrl-C, 4 when there is no student.
    """
    if hasattr(sys.stdout, "reconfigure"):  # a name may have letters that the terminal has not
        sys.stdout.reconfigure(errors="backslashreplace")
    rows: list[dict[str, Any]] = []
    hand_ins: list[HandIn] = []
    try:
        hand_ins = find_hand_ins(folder, _lessons(chosen))
        if hand_ins:
            return _grade_all(folder, hand_ins, rows)
        _say(f"There is no student's folder in {folder}: no {folder}/anna, for example.")
    except OSError as error:  # no room for copies, or the class's folder is closed
        _say(f"{error.strerror}: {error.filename}. Nothing more can be graded.")
    finally:
        rows += [_row(each, Grade(sentence=NOT_GRADED)) for each in hand_ins[len(rows) :]]
        if report:
            report.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    return NOTHING


def _grade_all(folder: Path, hand_ins: list[HandIn], rows: list[dict[str, Any]]) -> int:
    """Grade, several at once; add a row for each in their order. Return the exit code."""
    width = min(max(len(plain(each.student)) for each in hand_ins), WIDEST)
    grader = Grader(folder)
    if not grader.is_shut_off:
        _say(OPEN_DOORS)

    def note(each: HandIn, grade: Grade) -> None:
        rows.append(_row(each, grade))
        if grade.sentence != NOT_GRADED:
            _say(f"{plain(each.student):<{width}}  {_line(each, grade)}")

    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        grades = [pool.submit(_grade, grader, each) for each in hand_ins]
        try:
            for each, grade in zip(hand_ins, grades, strict=True):
                note(each, grade.result())
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rest takes a moment
            begun = len(rows)
            ended = [_if_ended(grade) for grade in grades[begun:]]
            pool.shutdown(wait=False, cancel_futures=True)
            grader.stop()
            for each, result in zip(hand_ins[begun:], ended, strict=True):
                note(each, result)
            graded = sum(row["sentence"] != NOT_GRADED for row in rows)
            _say(f"Stopped: {graded} of {len(rows)} are graded.")
            return STOPPED
    if changed := grader.originals.changed:
        _say(f"Note: {', '.join(changed)} changed meanwhile. Was it you? A hand-in could have.")
    return ALL_DONE if all(row["done"] for row in rows) else NOT_ALL


def _grade(grader: Grader, each: HandIn) -> Grade:
    if each.sentence or each.lesson is None:
        return Grade(sentence=each.sentence)
    try:
        return grader.grade(each.lesson, each.text)
    except Exception as error:  # a full disk, for example: the others may still have room
        return Grade(sentence=f"could not be graded: {type(error).__name__}: {error}")


def _if_ended(grade: "Future[Grade]") -> Grade:
    return grade.result() if grade.done() else Grade(sentence=NOT_GRADED)


def _lessons(chosen: list[Path]) -> list[Lesson]:
    named = {lesson_of(path) for path in chosen}
    return [lesson for lesson in find_lessons() if None in named or lesson in named]


def _say(line: str) -> None:
    with suppress(OSError):  # whoever reads has gone away; the report is still written
        print(line, flush=True)


def plain(text: str) -> str:
    """Return a text with what does not print written out: a terminal obeys some letters."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _line(each: HandIn, grade: Grade) -> str:
    if grade.sentence or each.lesson is None:
        number, slug = (each.lesson.number, each.lesson.slug) if each.lesson else ("--", "")
        sentence = plain(grade.sentence)
        cut = f"{sentence[:LONGEST]}..." if len(sentence) > LONGEST else sentence
        return f"{number} {slug:<9} {cut}"
    attacks = {name: name in grade.attacks for name in grade.verdicts}
    return progress_line(each.lesson, grade.verdicts, attacks)


def _row(each: HandIn, grade: Grade) -> dict[str, Any]:
    is_done = not grade.sentence and grade.passed == len(grade.verdicts) > 0
    return {
        "student": each.student,
        "lesson": each.lesson.number if each.lesson else None,
        "slug": each.lesson.slug if each.lesson else None,
        "file": str(each.file) if each.file else None,
        "done": is_done,
        "passed": grade.passed,
        "tests": grade.verdicts,
        "attacks": sorted(grade.attacks),
        "sentence": grade.sentence,
    }
