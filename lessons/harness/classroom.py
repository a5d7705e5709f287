"""`pytest lessons --candidate-dir=PATH`: a class's work, one line for each student and lesson.

Each folder in PATH is a student. In it a lesson is `login.py`, `03_login/login.py`, or, where the
whole workbook was handed in, `lessons/03_login/login.py`.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lessons.harness.catalogue import Lesson, find_lessons, lesson_of
from lessons.harness.grade import Grade, grade
from lessons.harness.screen import progress_line

Work = tuple[str, Lesson, Path]


def grade_class(folder: Path, chosen: list[Path], report: str | None) -> int:
    """Print a line for each student and lesson; `report` names a file for the same as JSON.

    Returns 0 when everything is done, 1 when not, 4 when there is nothing to grade.
    """
    works = [
        (student.name, lesson, file)
        for student in sorted(folder.iterdir())
        for lesson in _lessons(chosen)
        if (file := _find(student, lesson))
    ]
    if not works:
        print(f"There is no student's work in {folder}: no {folder}/anna/login.py, for example.")
        return 4
    width = max(len(student) for student, _, _ in works)
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        grades = pool.map(lambda work: grade(work[1], work[2]), works)
        rows = []
        for work, result in zip(works, grades, strict=True):
            print(f"{work[0]:<{width}}  {_line(work[1], result)}", flush=True)
            rows.append(_row(work, result))
    if report:
        Path(report).write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    return 0 if all(row["done"] for row in rows) else 1


def _lessons(chosen: list[Path]) -> list[Lesson]:
    named = {lesson_of(path) for path in chosen}
    return [lesson for lesson in find_lessons() if None in named or lesson in named]


def _find(student: Path, lesson: Lesson) -> Path | None:
    name = f"{lesson.slug}.py"
    places = (Path("lessons") / lesson.folder.name, Path(lesson.folder.name), Path())
    files = (student / place / name for place in places)
    return next((file.resolve() for file in files if file.is_file()), None)


def _line(lesson: Lesson, result: Grade) -> str:
    if result.sentence:
        return f"{lesson.number} {lesson.slug:<9} {result.sentence}"
    verdicts = {name: name in result.attacks for name in result.verdicts}
    return progress_line(lesson, result.verdicts, verdicts)


def _row(work: Work, result: Grade) -> dict[str, object]:
    student, lesson, file = work
    return {
        "student": student,
        "lesson": lesson.number,
        "slug": lesson.slug,
        "file": str(file),
        "done": bool(result.verdicts) and result.passed == len(result.verdicts),
        "passed": result.passed,
        "tests": result.verdicts,
        "attacks": sorted(result.attacks),
        "sentence": result.sentence,
    }
