"""What the demos stand on: an app to visit, a server, mallory's score, and the look of the plots.

Importing it puts the workbook into development with settings of its own, and says in one sentence
what is missing when something is.
"""

import asyncio
import atexit
import html
import inspect
import io
import os
import re
import secrets
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
NEEDED = [
    "matplotlib",
    "argon2",
    "fastapi",
    "httpx2",
    "jose",
    "jwt",
    "passlib",
    "pwdlib",
    "time_machine",
    "trustme",
]
BACKSTAGE = Path(__file__).with_name("backstage.py")
PATIENCE = 20  # seconds for a server to start, to answer, to end

# Okabe and Ito's colours, which colour-blind people tell apart too. Never the only sign.
BAD, GOOD, CALM, THIRD, GREY = "#D55E00", "#0072B2", "#56B4E9", "#E69F00", "#6E6E6E"


class Unavailable(Exception):
    """Something that the demo needs is not there. Its message is the next step."""

    def _render_traceback_(self) -> list[str]:  # Jupyter asks for it
        return [str(self)]


if _missing := [name for name in NEEDED if find_spec(name) is None]:
    raise Unavailable(
        f"The kernel of this notebook has no {_missing[0]}. In the workbook's folder type "
        "pip install -c constraints.txt -e '.[notebooks]' and start Jupyter from that environment."
    )

sys.path.insert(0, str(ROOT))  # in a kernel that has the libraries and not the workbook

import httpx2  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402
from IPython.display import display  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402

from lessons.harness.candidate import SETTINGS, clear_caches  # noqa: E402
from lessons.harness.client import body_of  # noqa: E402
from lessons.harness.people import PASSWORDS  # noqa: E402
from lessons.harness.transcript import Transcript  # noqa: E402

plt.rcParams.update(
    {
        "figure.figsize": (10, 4.5),
        "figure.dpi": 90,
        "savefig.bbox": "tight",
        "font.size": 15,
        "axes.titlesize": 17,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": plt.cycler(color=[GOOD, BAD, THIRD, CALM, GREY]),
        "lines.linewidth": 2.5,
        "lines.markersize": 9,
        "legend.frameon": False,
    }
)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end and return its result, where there is no `await`.

    In a thread, since Jupyter runs an event loop in its own.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


_keys = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # of the apps that sign with them


def configure(**settings: str) -> None:
    """Run `solutions` in development with these settings, and start it afresh.

    Without any, hashes are cheap (cost 4), those of the demo people too, so that a cell answers at
    once. Stores are empty but for the demo people.
    """
    for name in [name for name in os.environ if name.upper() in SETTINGS]:
        del os.environ[name]
    os.environ.update(
        {
            "ENVIRONMENT": "development",
            "JWT_SECRET": secrets.token_urlsafe(48),
            "BCRYPT_ROUNDS": "4",
            "SIGNING_KEYS_DIR": _keys.name,
            **settings,
        }
    )
    clear_caches()
    if not any(Path(_keys.name).iterdir()):
        from solutions.support.rotate_keys import rotate

        rotate(Path(_keys.name))
    finish(_hash_anew())


async def _hash_anew() -> None:
    from solutions.hashing import hash_password
    from solutions.stores.users import open_user_store

    store = open_user_store()
    for name, password in PASSWORDS.items():
        person = await store.get(name)
        await store.replace_hash(name, person.hashed_password, hash_password(password))


def show(function: Callable[..., object]) -> None:
    """Print what a function does: its lines below the docstring, without comments."""
    body = inspect.getsource(function).split('"""')[2].strip("\n")
    print(f"# {function.__name__}")
    print(re.sub("  # .*", "", textwrap.dedent(body)), end="\n\n")


def hunt(number: str) -> None:
    """Print how many wrong solutions of a lesson the attacks in its hunt.py catch."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", f"lessons/{number}", "--hunt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    heading, _, said = done.stdout.rstrip().partition("\n")
    print(said or heading or done.stderr)


def show_figure(figure: Figure) -> None:
    """Show a figure in 64 colours: what is mostly text takes a third of the room then."""
    png = io.BytesIO()
    figure.savefig(png)
    plt.close(figure)
    display(Image.open(png).convert("RGB").quantize(64))


class Visitor:
    """Sends requests, and prints each with its answer as the lessons' screens do.

    `http` is the client inside: it does the same and prints nothing.
    """

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http
        self._transcript = Transcript()

    def get(self, url: str, **send: Any) -> httpx2.Response:
        return self.request("GET", url, **send)

    def post(self, url: str, **send: Any) -> httpx2.Response:
        return self.request("POST", url, **send)

    def patch(self, url: str, **send: Any) -> httpx2.Response:
        return self.request("PATCH", url, **send)

    def request(self, method: str, url: str, **send: Any) -> httpx2.Response:
        """Send one request; `send` as in httpx."""
        answer = self.http.request(method, url, **send)
        status = str(answer.status_code)
        self._transcript.clear()
        self._transcript.request(method, url, send, status, lambda: body_of(answer))
        print(*self._transcript.lines, sep="\n")
        return answer


def visit(app: FastAPI) -> Visitor:
    """Visit an app in this process. A crash is a 500, as a visitor would see it."""
    return Visitor(TestClient(app, base_url="http://demo", raise_server_exceptions=False))


class Server:
    """A real uvicorn on a free port of this machine, for an app such as "solutions.main:app".

    It ends with `stop()`, and with the notebook. `address` is for a browser, `log()` is what it
    printed. Raises Unavailable when it does not start: a `port` of one's own may be taken.
    """

    def __init__(self, app: str, port: int = 0) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._file = Path(self._folder.name, "log")
        self._log: str | None = None  # complete, once the server has ended
        one = ("--workers", "1")  # whatever WEB_CONCURRENCY says: others would outlive it
        with self._file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, BACKSTAGE, app, "--port", str(port), *one],
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,  # its end ends the server, even when the notebook is killed
                stdout=log,
                stderr=log,
            )
        atexit.register(self.stop)
        self.visitor = Visitor(httpx2.Client(trust_env=False, timeout=PATIENCE))
        self.address = self._wait_for_address(app, port)
        self.visitor.http.base_url = self.address

    def _wait_for_address(self, app: str, port: int) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            if found := re.search(r"running on (http://\S+)", self.log()):
                return found[1]
            time.sleep(0.02)
        self.stop()
        if re.search("address already in use|only one usage of each socket", self.log()):
            raise Unavailable(f"Port {port} is taken. Leave `port` out, and a free one is found.")
        raise Unavailable(f"{app} did not start. It said:\n{self.log()[-1000:]}")

    def log(self) -> str:
        """Return what the server printed so far."""
        return self._file.read_text("utf-8", "replace") if self._log is None else self._log

    def stop(self) -> None:
        """End the server. Its log stays."""
        if self._log is not None:
            return
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.visitor.http.close()
        self._log = self.log()
        self._folder.cleanup()
        atexit.unregister(self.stop)


def mallory_gets_in(proof: bool, how: str) -> None:
    """Score for mallory. Raises AssertionError when the proof is false: the demo lies then."""
    assert proof, f"Mallory should have succeeded: {how}"
    _banner(BAD, "MALLORY IS IN", how)


def mallory_is_refused(proof: bool, how: str) -> None:
    """Score for the defence. Raises AssertionError when the proof is false: the demo lies then."""
    assert proof, f"Mallory should have been refused: {how}"
    _banner(GOOD, "REFUSED", how)


def _banner(colour: str, score: str, how: str) -> None:
    style = f"border-left: 10px solid {colour}; padding: 0.4em 1em; font-size: 1.3em"
    markup = f'<div style="{style}"><b>{score}</b>: {html.escape(how)}</div>'
    display({"text/html": markup, "text/plain": f"{score}: {how}"}, raw=True)


configure()
