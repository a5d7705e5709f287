"""The app that is attacked: in this process, or a server on this machine.

Whatever it does, a request ends: with its answer, with a 500 where it crashed, or with NoAnswer.
"""

import asyncio
import importlib
import inspect
import ipaddress
import logging
import re
import ssl
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx2

from lessons.harness.wire import Wire

T = TypeVar("T")
PATIENCE = 10.0  # seconds for an answer
START = 30.0  # and for a start


class BadTarget(Exception):
    """There is no app to attack. The message is one sentence, and says the next step."""


class NoAnswer(Exception):
    """The app did not answer in time."""


class Target(Protocol):
    """Where requests go."""

    in_process: bool
    base: str  # scheme and host, as browsers would know it

    def send(self, method: str, path: str, caller: int = 1, **sent: Any) -> httpx2.Response:
        """Send one request; `sent` as in httpx. Raises NoAnswer."""
        ...

    def together(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx2.Response]:
        """Send requests at once. Raises NoAnswer."""
        ...

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a hook, where the app runs."""
        ...

    def close(self) -> None:
        """End what was begun."""
        ...


def load(spec: str, folder: Path) -> Any:
    """Import `module:app`, or call `module:make_app` for one. Raises BadTarget with a sentence."""
    module_name, colon, name = spec.partition(":")
    name, calls = name.removesuffix("()"), name.endswith("()")
    if not (module_name and colon and name):
        raise BadTarget(f"--app={spec}: give a module and the app in it, as in --app=shop.main:app")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise BadTarget(
                f"There is no module {error.name} in {folder}: name its folder with --app-dir=PATH."
            ) from None
        raise BadTarget(
            f"{module_name} needs {error.name}, which is not installed here: "
            "install what your app needs into this environment."
        ) from None
    except BaseException as error:  # an app may leave by sys.exit
        raise BadTarget(
            f"{module_name} cannot be imported: {_told(error, folder)}{_hint(str(type(error)))}"
        ) from None
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = [each for each in vars(module) if callable(getattr(module, each, None))]
            apps = [each for each in near if _is_app(getattr(module, each))]
            hint = f" There is {', '.join(apps)}." if apps else ""
            raise BadTarget(f"{module_name} has no {name}.{hint}")
        found = getattr(found, part)
    if calls or not _is_app(found):
        found = _made(found, spec, folder)
    return found


def _is_app(thing: Any) -> bool:
    """Tell whether a thing is called with scope, receive and send, and is no factory."""
    if inspect.isclass(thing) or not callable(thing):
        return False
    call = thing if inspect.isroutine(thing) else type(thing).__call__
    needed = [
        each
        for each in inspect.signature(call).parameters.values()
        if each.default is each.empty
        and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    return inspect.iscoroutinefunction(call) and len(needed) - (call is not thing) == 3


def _made(factory: Any, spec: str, folder: Path) -> Any:
    if not callable(factory):
        raise BadTarget(f"--app={spec} is {type(factory).__name__}, no app and no function.")
    try:
        app = factory()
    except BaseException as error:
        raise BadTarget(
            f"{spec} makes no app: {_told(error, folder)}{_hint(str(type(error)))}"
        ) from None
    if not callable(app):
        raise BadTarget(f"{spec} returns {type(app).__name__}, no app.")
    return app


def _hint(failure: str) -> str:
    """Return the next step where a setting seems to be missing."""
    is_setting = re.search("KeyError|ValidationError|Settings|Configur", failure)
    return ". A setting that it needs comes from the shell, or from [env]." if is_setting else ""


def _told(error: BaseException, folder: Path) -> str:
    """Return an error with the last line of the app's own that led to it, on one line."""
    said = " ".join(str(error).split())[:200]
    where = ""
    frame = error.__traceback__
    while frame:
        file = Path(frame.tb_frame.f_code.co_filename)
        if file.is_relative_to(folder) and "site-packages" not in file.parts:
            where = f" ({file.relative_to(folder)}, line {frame.tb_lineno})"
        frame = frame.tb_next
    return f"{type(error).__name__}: {said}{where}"


@dataclass(frozen=True)
class Importing:
    """What imports an app, and whatever belongs to it."""

    get: Callable[[], Any]


class Here:
    """An app in this process, on a loop and a thread of its own: one that hangs is left behind."""

    in_process = True

    def __init__(self, app: Any, host: str, https: bool) -> None:
        """Give `app`, or a function without parameters that imports one, as `Imported`."""
        self.base = f"{'https' if https else 'http'}://{host}"
        self.crash = ""  # what the last request raised
        self.app = app
        self._host = host
        self._scheme = "https" if https else "http"
        self._state: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        self._gone = False
        self.hung = False
        self._to_app: asyncio.Queue[dict[str, Any]] | None = None
        self._life: asyncio.Task[None] | None = None
        self._failed: BaseException | None = None
        begun = threading.Event()

        def live() -> None:
            try:
                # In the app's own thread, as a server does: some keep what only this thread may
                # use. Before the loop runs: some run one of their own at the import.
                if isinstance(app, Importing):
                    self.app = app.get()
            except BaseException as error:
                self._failed = error
            begun.set()
            self._loop.run_forever()

        threading.Thread(target=live, daemon=True).start()
        if not begun.wait(START):
            raise BadTarget(f"The import of the app did not end within {START:g} seconds.")
        if self._failed:
            raise self._failed

    def start(self) -> None:
        """Run the app's start-up. Raises BadTarget when it fails."""
        try:
            failure = self.run(self._start(), START)
        except NoAnswer:
            raise BadTarget(f"The app's start-up did not end within {START:g} seconds.") from None
        if failure:
            raise BadTarget(f"The app's start-up failed: {failure}{_hint(failure)}")

    async def _start(self) -> str:
        to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self._state}

        async def live() -> None:
            try:
                await self.app(scope, to_app.get, from_app.put)
            except BaseException as error:  # one without a lifespan may raise anything
                await from_app.put({"type": "none", "message": f"{type(error).__name__}: {error}"})
            else:
                await from_app.put({"type": "none"})

        self._life = asyncio.create_task(live())
        self._to_app = to_app
        await to_app.put({"type": "lifespan.startup"})
        first = await from_app.get()
        if first["type"] == "lifespan.startup.failed":
            lines = str(first.get("message", "")).strip().splitlines()
            return lines[-1] if lines else "it does not say why."
        return ""

    def send(self, method: str, path: str, caller: int = 1, **sent: Any) -> httpx2.Response:
        self.crash = ""
        return self.run(self._send(method, path, caller, sent))

    def together(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx2.Response]:
        async def all_of_them() -> list[httpx2.Response]:
            return await asyncio.gather(*(self._send(*each[:2], 1, each[2]) for each in requests))

        return self.run(all_of_them(), 3 * PATIENCE)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        async def called() -> Any:
            result = function(*args)
            return await result if inspect.isawaitable(result) else result

        return self.run(called(), START)

    def run(self, work: Coroutine[Any, Any, T], patience: float | None = None) -> T:
        """Run a coroutine where the app runs. Raises NoAnswer."""
        patience = patience or PATIENCE
        if self._gone:
            work.close()
            raise NoAnswer("the app hangs since an earlier request")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(patience)
        except TimeoutError:
            self.hung = True
            future.cancel()
            self._gone = not self._is_alive()
            raise NoAnswer(f"no answer within {patience:g} seconds") from None

    def _is_alive(self) -> bool:
        alive = threading.Event()
        self._loop.call_soon_threadsafe(alive.set)
        return alive.wait(1)

    async def _send(
        self, method: str, path: str, caller: int, sent: dict[str, Any]
    ) -> httpx2.Response:
        async def served(scope: Any, receive: Any, send: Any) -> None:
            begun = False

            async def noted(message: Any) -> None:
                nonlocal begun
                begun = True
                await send(message)

            try:
                await self.app({**scope, "state": dict(self._state)}, receive, noted)
            except Exception as error:  # as a server does
                self.crash = f"{type(error).__name__}: {' '.join(str(error).split())}"
                logging.getLogger("uvicorn.error").error(
                    "Exception in ASGI application", exc_info=error
                )
            if not begun:
                head = [(b"content-type", b"text/plain; charset=utf-8")]
                await send({"type": "http.response.start", "status": 500, "headers": head})
                await send({"type": "http.response.body", "body": b"Internal Server Error"})

        wire = Wire(served)
        wire.keeps_cookies = False
        wire.scheme = self._scheme
        headers = {"host": self._host, **sent.pop("headers", {})}
        name, _, port = self._host.partition(":")
        where = {"server": (name, int(port or 80))}
        address = (f"127.0.0.{caller}", 50_000)
        try:
            return await wire.request(
                method, path, client=address, headers=headers, scope=where, **sent
            )
        except AssertionError as error:
            raise NoAnswer(str(error)) from None

    def close(self) -> None:
        async def end() -> None:
            if self._life and self._to_app and not self._life.done():
                await self._to_app.put({"type": "lifespan.shutdown"})
                await asyncio.wait({self._life}, timeout=2)

        with suppress(NoAnswer):
            self.run(end(), 5)
        if not self._gone:
            self._loop.call_soon_threadsafe(self._loop.stop)


class There:
    """A server on this machine."""

    in_process = False

    def __init__(self, url: str, host: str | None, https: bool) -> None:
        self._url = url.rstrip("/")
        parts = urlsplit(self._url)
        self._host = host
        self._trust = ssl.create_default_context()
        self._trust.check_hostname = False  # a certificate for this machine is mostly self-made
        self._trust.verify_mode = ssl.CERT_NONE
        scheme = "https" if https else parts.scheme
        self.base = f"{scheme}://{host or parts.netloc}"

    def start(self) -> None:
        """See whether somebody is there. Raises BadTarget for a stranger, or nobody."""
        parts = urlsplit(self._url)
        try:
            is_here = parts.hostname == "localhost" or (
                parts.hostname is not None and ipaddress.ip_address(parts.hostname).is_loopback
            )
        except ValueError:
            is_here = False
        if parts.scheme not in ("http", "https") or not is_here:
            raise BadTarget(
                f"--url={self._url}: attacks go to this machine alone: start your app beside, "
                "and give --url=http://127.0.0.1:8000"
            )
        try:
            self.send("GET", "/")
        except NoAnswer:
            raise BadTarget(f"Nobody answers at {self._url}: start your app there first.") from None

    def send(self, method: str, path: str, caller: int = 1, **sent: Any) -> httpx2.Response:
        headers = {**({"host": self._host} if self._host else {}), **sent.pop("headers", {})}
        # A connection for each request: some servers close it after a 500.
        limits = httpx2.Limits(max_keepalive_connections=0)
        try:
            with httpx2.Client(
                timeout=PATIENCE, trust_env=False, verify=self._trust, limits=limits
            ) as client:
                return client.request(method, self._url + path, headers=headers, **sent)
        except httpx2.TimeoutException:
            raise NoAnswer(f"no answer within {PATIENCE:g} seconds") from None
        except httpx2.ConnectError as error:
            raise NoAnswer(f"no answer: {error}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            # What no client can send, or where the server hangs up: no app has seen it.
            request = httpx2.Request(method, self._url)
            said = " ".join(str(error).split())[:80]
            return httpx2.Response(400, text=f"not taken by the server: {said}", request=request)

    def together(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx2.Response]:
        with ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(lambda each: self.send(each[0], each[1], **each[2]), requests))

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        result = function(*args)
        return asyncio.run(result) if inspect.iscoroutine(result) else result

    def close(self) -> None:
        pass
