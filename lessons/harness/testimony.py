"""Makes a grade of what a witness said, and of how the tests ended."""

import json
import signal
from contextlib import suppress
from typing import Any

from lessons.harness import family
from lessons.harness.grade import Grade
from lessons.harness.limit import GAVE_UP
from lessons.harness.verdicts import BROKEN, OPEN, PASSED, worse

ENDS = {
    family.TOO_LONG: "did not come to an end in time",
    GAVE_UP: "did not come to an end",
    family.TOO_BIG: f"took more than {family.MEMORY >> 20} MB of memory",
    family.TOO_MANY: f"started more than {family.PROCESSES} processes",
}
NOT_BEGUN = "see what pytest lessons --solutions says."

Words = dict[str, Any]


def understand(heard: bytearray, secret: str) -> list[Words]:
    """Return what was said with the secret before it. Anybody can say something."""
    *lines, _ = bytes(heard).split(b"\n")  # the last may be cut off
    said = (line.partition(b" ") for line in lines)
    return [json.loads(words) for before, _, words in said if before == secret.encode()]


def judge(name: str, code: int, said: list[Words]) -> Grade:
    """Say how the tests ended. One that the witness did not see to its end has not passed."""
    attacks: dict[str, bool] = next((word["tests"] for word in said if "tests" in word), {})
    if not attacks:
        return Grade(sentence=f"The tests did not begin ({_end(code)}): {NOT_BEGUN}")
    ran = {word["ran"] for word in said if "ran" in word}
    reports = {word["test"]: word["properties"] for word in said if "test" in word}
    grade = Grade()
    sentences = [f"{name} changes {word['changed']}." for word in said if "changed" in word]
    for test, is_attack in attacks.items():
        short = test.partition("::")[2].partition("[")[0]
        found = [value for key, value in reports.get(test, []) if key == "verdict"] or [BROKEN]
        for verdict in found:
            grade.verdicts[short] = worse(grade.verdicts.get(short, PASSED), verdict)
        if set(found) == {PASSED} and test not in ran:
            grade.verdicts[short] = worse(grade.verdicts[short], OPEN)
            sentences.append(f"{name} passes tests that were not played.")
        if is_attack:
            grade.attacks.add(short)
        told = [value for key, value in reports.get(test, []) if key == "sentence"]
        sentences += [sentence.replace("hand_in/", "") for sentence in told]
    is_green = set(grade.verdicts.values()) == {PASSED}
    if attacks.keys() - reports.keys() or code != (0 if is_green else 1):
        sentences.append(f"{name} {_end(code)}.")
    grade.sentence = next(iter(sentences), "")
    return grade


def _end(code: int) -> str:
    if code in ENDS:
        return ENDS[code]
    number = -code if code < 0 else code - 128
    with suppress(ValueError):
        return f"ended its tests early: {signal.Signals(number).name}"
    return f"ended its tests early: exit code {code}"
