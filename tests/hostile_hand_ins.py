"""Hand-ins that want another grade than theirs, and such as end in every way there is.

They are for a lesson that is as small as can be, since there are many. Each text stands below a
wrong solution, so none is ever "done". `WORKBOOK`, `CLASS` and `GRADES` are where the teacher keeps
things, and at `PORT` somebody listens.
"""

TESTS = '''"""Lesson 99: toy."""

import pytest


def test_it_greets(candidate):
    """A greeting has the name."""
    assert candidate.greet("anna") == "hello anna"


@pytest.mark.attack
def test_mallory_is_not_greeted(candidate):
    """Whoever is greeted is let in."""
    assert "hello" not in candidate.greet("mallory")


@pytest.mark.attack
def test_no_mallory_is_greeted(candidate):
    """Nor is one who shouts."""
    assert not any("hello" in candidate.greet(name) for name in ("mallory", "MALLORY"))
'''
NAIVE = '''"""Greets."""


def greet(name):
    """Return a greeting."""
    return f"hello {name}"
'''
RIGHT = NAIVE.replace("return f", "return 'no' if name.lower() == 'mallory' else f")

SESSION = """
import gc, pytest
session = next(each for each in gc.get_objects() if isinstance(each, pytest.Session))
"""

CHEATS = {
    "another verdict": """
import sys
for module in list(sys.modules.values()):
    if hasattr(module, "verdict_of"):
        module.verdict_of = lambda error: "passed"
""",
    "another runtest": """
import _pytest.python
_pytest.python.Function.runtest = lambda self: None
""",
    "another runtest for each test": SESSION
    + """
for item in session.items:
    item.runtest = lambda: None
""",
    "another report": """
import _pytest.reports
original = _pytest.reports.TestReport.from_item_and_call.__func__
def from_item_and_call(cls, item, call):
    call.excinfo = None
    return original(cls, item, call)
_pytest.reports.TestReport.from_item_and_call = classmethod(from_item_and_call)
""",
    "another call": """
import _pytest.runner
original = _pytest.runner.CallInfo.from_call.__func__
def from_call(cls, func, when, reraise=None):
    return original(cls, (lambda: None) if when == "call" else func, when, reraise)
_pytest.runner.CallInfo.from_call = classmethod(from_call)
""",
    "another code in each test": SESSION
    + """
def nothing(*args, **kwargs): pass
for item in session.items:
    item.obj.__code__ = nothing.__code__
""",
    "another client": """
from lessons.harness.client import Client
def post(self, *args, **kwargs):
    raise pytest.skip.Exception("enough")
import pytest
Client.post = Client.request = post
""",
    "another twin": """
import contextlib, lessons.harness.verdicts as verdicts, sys
@contextlib.contextmanager
def twin():
    with contextlib.suppress(BaseException):
        yield
for module in list(sys.modules.values()):
    if hasattr(module, "twin"):
        module.twin = twin
""",
    "a plugin that plays": SESSION
    + """
class Plays:
    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem):
        return True
session.config.pluginmanager.register(Plays())
""",
    "all expected to fail": SESSION
    + """
for item in session.items:
    item.add_marker(pytest.mark.xfail(run=False))
""",
    "all skipped": SESSION
    + """
for item in session.items:
    item.add_marker(pytest.mark.skip)
""",
    "enough tests": SESSION + "\nsession.shouldstop = 'enough'\n",
    "fewer tests": SESSION + "\ndel session.items[1:]\n",
    "another fixture": SESSION
    + """
from types import SimpleNamespace
kind = SimpleNamespace(greet=lambda name: "no" if "l" in name.lower() else "hello anna")
for item in session.items:
    for fixture in item._fixtureinfo.name2fixturedefs["candidate"]:
        fixture.func = lambda request, loop: kind
""",
    "another any": """
import sys
for module in list(sys.modules.values()):
    if hasattr(module, "test_it_greets"):
        module.any = lambda each: False
""",
    "a jump to the end": """
import sys
def jump(frame, event, argument):
    if frame.f_code.co_name.startswith("test_"):
        def on(frame, event, argument):
            if event == "line":
                frame.f_lineno = max(line for _, _, line in frame.f_code.co_lines() if line)
            return on
        return on
sys.settrace(jump)
""",
    "no failures": SESSION
    + """
type(session).testsfailed = property(lambda self: 0, lambda self, value: None)
""",
    "a skipped module": "import pytest\npytest.skip(allow_module_level=True)\n",
    "an exit with code 0": "import pytest\npytest.exit('enough', returncode=0)\n",
    "an end with code 0": "import ctypes\nctypes.CDLL(None)._exit(0)\n",
    "words in another's name": SESSION
    + """
import __main__, json, os, _ctypes, ctypes
original, pytest.said = os.write, set()
def write(pipe, text):
    secret = text.split(b" ")[0]
    for item in session.items:
        for words in {"ran": item.nodeid}, {"test": item.nodeid, "properties": []}:
            original(pipe, secret + b" " + json.dumps(words).encode() + b"\\n")
    ctypes.CDLL(None)._exit(0)
os.write = write
__main__.teller = __main__.tell = lambda channel, secret: lambda words: write(channel, secret)
""",
    "words on every pipe": SESSION
    + """
import ctypes, json, os
words = "".join(
    json.dumps({"ran": item.nodeid}) + "\\n"
    + json.dumps({"test": item.nodeid, "properties": [["verdict", "passed"]]}) + "\\n"
    for item in session.items
)
for pipe in range(256):
    try:
        os.write(pipe, ("\\n" + words).encode())
    except OSError:
        pass
ctypes.CDLL(None)._exit(0)
""",
    "a report at exit": """
import atexit, json
def write():
    with open(GRADES, "w") as file:
        json.dump([{"student": "a report at exit", "done": True}], file)
atexit.register(write)
write()
""",
    "an edited harness": """
from pathlib import Path
import lessons
for root in (Path(WORKBOOK), Path(lessons.__path__[0]).parent):
    for name in ("verdicts", "witness", "sandbox", "hand_in", "grade"):
        try:
            with (root / "lessons" / "harness" / f"{name}.py").open("a") as file:
                file.write("\\ndef verdict_of(error): return PASSED\\n")
        except OSError:
            pass
""",
    "a call home": """
import socket
try:
    socket.create_connection(("127.0.0.1", PORT), 2).close()
except OSError:
    pass
""",
    "an edited library": """
import site, sys
from pathlib import Path
for folder in (*site.getsitepackages(), site.getusersitepackages()):
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "of_a_hand_in.txt").write_text("It was here.")
    except OSError:
        pass
    else:
        raise RuntimeError("writes where libraries are")
""",
    "a child that lives on": """
import os, time
from pathlib import Path
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for file in Path(CLASS).glob("*/toy.py"):
                try:
                    file.write_text("raise SystemExit('of another')")
                except OSError:
                    pass
            time.sleep(0.01)
    os._exit(0)
os.wait()
""",
}

# Where a hand-in is shut off, these find nothing.
THEFTS = {
    "another's work": "exec(open(CLASS + '/anna/toy.py').read())\n",
    "the answer": "exec(open(WORKBOOK + '/solutions/toy.py').read())\n",
    "the answer of the copy": """
import lessons
exec(open(lessons.__path__[0] + "/../solutions/toy.py").read())
""",
}

# How they end, and what the line says.
ENDS = {
    "asks": ("input()\n", r"toy.py:\d+ fails on import: EOFError.*"),
    "asleep": ("import time\ntime.sleep(60)\n", r"toy.py:\d+ did not come to an end.*"),
    "closes all": ("import os\nos.closerange(0, 256)\n", r".*"),
    "deaf": (
        "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0)\nwhile True: pass\n",
        r"toy.py did not come to an end in time\.",
    ),
    "ends": ("import sys\nsys.exit(0)\n", r"toy.py:\d+ fails on import: SystemExit: 0"),
    "ends all": (
        "import os\nos.killpg(os.getpgrp(), 9)\n",
        r"toy.py ended its tests early: SIGKILL\.",
    ),
    "ends its group": ("import os\nos.kill(0, 9)\n", r"toy.py ended its tests early: SIGKILL\."),
    "ends its parent": (
        "import os\nos.kill(os.getppid(), 9)\n",
        r"(toy.py ended its tests early: SIGKILL\.|.*under way)",
    ),
    "escapes": (
        "raise RuntimeError('\\x1b[2J\\x07 done')\n",
        r"toy.py:\d+ fails on import: RuntimeError: \\x1b\[2J\\x07 done",
    ),
    "forks": (
        "import os, time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: os.fork()\n",
        r"toy.py (started more than 32 processes|took more than 1024 MB of memory)\.",
    ),
    "grows": (
        "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0)\n"  # however slow memory is
        "held = []\nwhile True: held.append(b'x' * (1 << 24))\n",
        r"toy.py took more than 1024 MB of memory\.",
    ),
    "interrupts": ("raise KeyboardInterrupt\n", r"toy.py.*(early: exit code 2|Interrupt.*)\.?"),
    "leaps": ("bytearray(1 << 40)\n", r"toy.py:\d+ fails on import: MemoryError.*"),
    "leaves a thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n",
        r".*under way",
    ),
    "loops": ("while True: pass\n", r"toy.py:\d+ did not come to an end.*"),
    "prints": ("while True: print('x' * 10_000)\n", r"toy.py:\d+ did not come to an end.*"),
    "recurses": ("def f(): f()\nf()\n", r"toy.py:\d+ fails on import: RecursionError.*"),
    "segfaults": (
        "import ctypes\nctypes.string_at(0)\n",
        r"toy.py ended its tests early: SIGSEGV\.",
    ),
    "talks": ("raise RuntimeError('x' * 100_000)\n", r"toy.py:\d+ .{80,200}\.\.\."),
    "tells": (
        "import os\nraise RuntimeError(f\"{os.environ.get('TEACHERS_KEY')}\")\n",
        r"toy.py:\d+ fails on import: RuntimeError: None",
    ),
    "writes": (
        "import os, tempfile\nfile = tempfile.NamedTemporaryFile()\n"
        "while True: file.write(b'x' * (1 << 20))\n",
        r"toy.py:\d+ fails on import: OSError: .*",
    ),
}
