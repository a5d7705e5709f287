"""The findings as files: Markdown for people, JSON, JUnit XML and SARIF for machines."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lessons.harness.your_app.attacks import all_attacks
from lessons.harness.your_app.findings import LEVELS, Finding, Level
from lessons.harness.your_app.screen import lesson_path

NAME = "FastAPI Auth Workbook"
SARIF_LEVELS: dict[Level, str] = {"break-in": "error", "leak": "error", "hardening": "note"}
SEVERITY: dict[Level, str] = {"break-in": "9.0", "leak": "6.0", "hardening": "3.0"}  # of ten
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class UnknownReport(Exception):
    """There is no such kind of report. The message names those that there are."""


def check(path: Path) -> None:
    """Raise UnknownReport for a file whose name says no kind, or that cannot be written."""
    if path.suffix not in KINDS:
        raise UnknownReport(f"--report={path.name}: the name ends in {', '.join(KINDS)}.")
    if not path.parent.is_dir():
        raise UnknownReport(f"--report: there is no folder {path.parent}.")


def write(path: Path, app: str, findings: Sequence[Finding], description: str) -> None:
    """Write a report; its kind is in the name. `description` is where SARIF says it is."""
    path.write_text(KINDS[path.suffix](app, findings, description), "utf-8")


def _markdown(app: str, findings: Sequence[Finding], description: str) -> str:
    lines = [f"# The attacks on {_cell(app)}", "", "| lesson | attack | | level | authority | |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for each in findings:
        level = each.level if each.status == "open" else ""
        status = f"**{each.status}**" if each.status == "open" else each.status
        cells = (each.lesson, each.name, status, level, each.authority, _cell(each.why))
        lines.append(f"| {' | '.join(cells)} |")
    for each in findings:
        if each.status == "open":
            lines += ["", f"## {each.name}", "", f"{each.title[0].upper()}{each.title[1:]}.", ""]
            lines += [f"{each.level}: {LEVELS[each.level]}. {each.authority}."]
            lines += [f"The repair: {lesson_path(each.lesson)}", "", "```text", *each.transcript]
            lines += [f"> {each.why}", "```"]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _json(app: str, findings: Sequence[Finding], description: str) -> str:
    attacks = [
        {
            "name": each.name,
            "title": each.title,
            "status": each.status,
            "level": each.level,
            "why": each.why,
            "authority": each.authority,
            "lesson": each.lesson,
            "transcript": each.transcript,
        }
        for each in findings
    ]
    return json.dumps({"app": app, "attacks": attacks}, indent=2) + "\n"


def _junit(app: str, findings: Sequence[Finding], description: str) -> str:
    suites = ElementTree.Element("testsuites", name=NAME)
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name=_xml(app),
        tests=str(len(findings)),
        failures=str(sum(each.fails for each in findings)),
        errors="0",
        skipped=str(sum(each.status == "not tried" for each in findings)),
    )
    for each in findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"lesson {each.lesson}", name=each.name
        )
        if each.fails:
            message = f"{each.title}: {each.why}"
            failure = ElementTree.SubElement(
                case, "failure", type=each.level, message=_xml(message)
            )
            failure.text = _xml("\n".join([*each.transcript, "", each.authority]))
        elif each.status == "not tried":
            ElementTree.SubElement(case, "skipped", message=_xml(each.why))
        elif each.why:
            out = ElementTree.SubElement(case, "system-out")
            out.text = _xml(f"{each.status} ({each.level}): {each.why}")
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    return NO_XML.sub("?", text)


def _sarif(app: str, findings: Sequence[Finding], description: str) -> str:
    rules = [
        {
            "id": each.name,
            "shortDescription": {"text": f"{each.title[0].upper()}{each.title[1:]}."},
            "fullDescription": {"text": f"It is open: {each.title}. {each.authority}."},
            "help": {"text": f"{each.authority}. The repair: {lesson_path(each.lesson)}"},
            "defaultConfiguration": {"level": SARIF_LEVELS[each.level]},
            "properties": {
                "tags": ["security", f"lesson-{each.lesson}"],
                "security-severity": SEVERITY[each.level],
            },
        }
        for each in all_attacks()
    ]
    numbers = {rule["id"]: number for number, rule in enumerate(rules)}
    results: list[dict[str, Any]] = []
    for each in findings:
        if each.status not in ("open", "accepted"):
            continue
        result: dict[str, Any] = {
            "ruleId": each.name,
            "ruleIndex": numbers[each.name],
            "level": SARIF_LEVELS[each.level],
            "message": {"text": f"{each.title[0].upper()}{each.title[1:]}: {each.why}"},
            # An attack has no line of code. Code hosts want a place, so it is the description's.
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": description},
                        "region": {"startLine": 1},
                    }
                }
            ],
            "partialFingerprints": {"attack/v1": each.name},
        }
        if each.status == "accepted":
            result["suppressions"] = [{"kind": "external", "justification": each.why}]
        results.append(result)
    run = {
        "tool": {"driver": {"name": NAME, "rules": rules}},
        "results": results,
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


KINDS: dict[str, Callable[[str, Sequence[Finding], str], str]] = {
    ".md": _markdown,
    ".json": _json,
    ".xml": _junit,
    ".sarif": _sarif,
}
