"""The learner's file in odd encodings, and what it does to its output."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lessons.harness.encoding import fault_of
from tests.golden import DONE, GUARD, LOGIN, copy_workbook, edit
from tests.judge import run_pytest

START = "    user = await users.get(username)\n"
OUTPUTS = {
    "replaced": "import sys, io; sys.stdout = io.StringIO()\n",
    "gone": "import sys; sys.stdout = sys.stderr = None\n",
    "closed": "import sys; sys.stdout.close(); sys.stderr.close(); print('still there')\n",
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_a_learner_may_do_anything_to_the_output(output: str, tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    edit(LOGIN, ("import secrets\n", "import secrets\n" + output), first=DONE)(tmp_path)
    edit(LOGIN, (START, f"    {output}{START}"))(tmp_path)
    done = run_pytest("lessons/03", folder=tmp_path)
    assert "\nLesson 03 login   15 of 15 " in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
    assert done.stderr == ""


FAULTS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "UTF-16": (lambda text: text.encode("utf-16"), " is saved as UTF-16, which Python does not"),
    "Latin-1": (lambda text: f"# \u00fc\n{text}".encode("latin-1"), " has a letter in line 1"),
    "NUL": (lambda text: f"{text}\0".encode(), r" has a NUL byte in line \d+, which Python"),
    "coding": (lambda text: f"# coding: klingon\n{text}".encode(), " names an encoding that "),
    "tabs": (
        lambda text: f"{text}\nif True:\n        x = 1\n\ty = 1\n".encode(),
        r":\d+ does not parse: inconsistent use of tabs and spaces",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("save", "sentence"), FAULTS.values(), ids=FAULTS)
def test_what_python_cannot_read_is_one_sentence(
    save: Callable[[str], bytes], sentence: str, tmp_path: Path
) -> None:
    copy_workbook(tmp_path)
    DONE(tmp_path)
    (tmp_path / LOGIN).write_bytes(save((tmp_path / LOGIN).read_text("utf-8")))
    done = run_pytest("lessons/03", folder=tmp_path)
    assert re.search(f"^{LOGIN.as_posix()}{sentence}", done.stdout, re.M), done.stdout + done.stderr
    assert "\nnext   mend lessons/03_login/login.py" in done.stdout
    assert done.stdout.isascii()
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "content",
    ["x = 'Gr\u00fc\u00dfe'".encode("utf-8-sig"), "# coding: latin-1\n# \u00fc".encode("latin-1")],
)
def test_what_python_reads_has_no_fault(content: bytes) -> None:
    assert fault_of(content) is None


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "Gr\u00fc\u00dfe"), ("ascii", r"Gr\xfc\xdfe")]
)
def test_printed_letters_are_shown_where_the_terminal_has_them(
    encoding: str, shown: str, tmp_path: Path
) -> None:
    copy_workbook(tmp_path)
    wrong = GUARD.replace("not correct", "correct")
    printing = "    print('Gr\u00fc\u00dfe', chr(27))\n"
    edit(LOGIN, (GUARD, printing + wrong), first=DONE)(tmp_path)
    done = run_pytest("lessons/03", folder=tmp_path, env={"PYTHONIOENCODING": encoding})
    assert rf"    | {shown} \x1b" in done.stdout, done.stdout
