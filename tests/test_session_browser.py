"""Lesson 08 in a real browser: without script, with a keyboard, and under real forgeries.

`localhost` and `127.0.0.1` are two sites; two ports of `localhost` are one site and two origins.
"""

import html
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import open_page
from tests.processes import free_port, serve

COOKIE = "__Host-session"
PATIENCE = 60_000  # milliseconds; a busy machine takes some
WITHOUT_SEC_FETCH = '''\
"""The app, behind a browser that says nothing of where a request comes from."""

from solutions.sessions import app as whole


async def app(scope, receive, send):
    if scope["type"] == "http":
        kept = [each for each in scope["headers"] if not each[0].startswith(b"sec-fetch-")]
        scope = {**scope, "headers": kept}
    await whole(scope, receive, send)
'''


class Elsewhere(BaseHTTPRequestHandler):
    """Mallory's page: it sets a cookie if it shall, and posts a form as soon as it is open."""

    def do_GET(self) -> None:
        asked = dict(parse_qsl(urlsplit(self.path).query))
        action, cookie = asked.pop("action", ""), asked.pop("cookie", "")
        fields = "".join(
            f'<input name="{html.escape(name)}" value="{html.escape(asked[name])}">'
            for name in asked
        )
        script = f"document.cookie = {cookie!r};" if cookie else ""
        page = (
            f'<form method="post" action="{html.escape(action)}">{fields}</form>'
            f"<script>{script} document.forms[0].submit()</script>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@dataclass
class Place:
    """A running app, and what its address is to people."""

    port: int

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"


@pytest.fixture(scope="module")
def mallory() -> Iterator[int]:
    """The port on which mallory's page is, under every name of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def _place(app: str, folder: Path, log: Path) -> Iterator[Place]:
    port = free_port()
    env = {"BCRYPT_ROUNDS": "4", "PUBLIC_URL": f"http://localhost:{port}"}
    root = str(Path(__file__).resolve().parents[1])
    with serve(app, log, folder, port, PYTHONPATH=root, ENVIRONMENT="development", **env):
        yield Place(port)
    assert " 500 " not in log.read_text()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("reference")
    yield from _place("solutions.sessions:app", folder, folder / "log")


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The reference, to which no browser sends `Sec-Fetch-Site`."""
    folder = tmp_path_factory.mktemp("silent")
    (folder / "silent.py").write_text(WITHOUT_SEC_FETCH)
    yield from _place("silent:app", folder, folder / "log")


@pytest.fixture(scope="module")
def naive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("naive")
    yield from _place("lessons.08_sessions.naive:app", folder, folder / "log")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_page() as page:
        assert page.context.browser is not None
        expect.set_options(timeout=PATIENCE)
        yield page.context.browser
        expect.set_options(timeout=None)


@contextmanager
def new_context(browser: Browser, **how: Any) -> Iterator[BrowserContext]:
    """Yield a browser with a jar of cookies of its own, which waits as long as it takes."""
    with browser.new_context(**how) as context:
        context.set_default_timeout(PATIENCE)
        yield context


def log_in(page: Page, place: Place, name: str = "alice", password: str = "secretalice") -> None:
    """With the keyboard only: the first field has the focus."""
    page.goto(f"{place.url}/login")
    expect(page.get_by_label("Username")).to_be_focused()  # not yet so when the page is loaded
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/account")


def who(context: BrowserContext, place: Place) -> str | None:
    """Return as whom a browser is logged in."""
    page = context.new_page()
    answer = page.goto(f"{place.url}/session")
    assert answer is not None
    name = answer.json()["username"] if answer.status == 200 else None
    page.close()
    return name


def forge(
    context: BrowserContext, mallory: int, place: Place, path: str, host: str, **fields: str
) -> int:
    """Open mallory's page, which posts a form to a place; return the status of the answer."""
    page = context.new_page()
    query = urlencode({"action": place.url + path} | fields)
    with page.expect_response(lambda each: each.request.method == "POST") as answer:
        page.goto(f"http://{host}:{mallory}/?{query}", wait_until="commit")
    status = answer.value.status
    page.wait_for_load_state()
    page.close()
    return int(status)


# --- a person ---------------------------------------------------------------------------------


def test_two_browsers_without_script(browser: Browser, reference: Place) -> None:
    """Log in twice, end one session from the other, log out: the copied cookie is dead."""
    with (
        new_context(browser, java_script_enabled=False, user_agent="Laptop") as first,
        new_context(browser, java_script_enabled=False, user_agent="Phone") as second,
        new_context(browser) as thief,
    ):
        _two_browsers(first.new_page(), second.new_page(), thief, reference)


def _two_browsers(laptop: Page, phone: Page, thief: BrowserContext, reference: Place) -> None:
    for page in (laptop, phone):
        page.goto(f"{reference.url}/account")
        assert page.url == f"{reference.url}/login"
        page.get_by_role("textbox", name="Username").fill("johndoe")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("Incorrect username or password.")
        expect(page.get_by_role("textbox", name="Username")).to_have_value("")
        page.get_by_role("textbox", name="Username").fill("johndoe")
        page.get_by_label("Password").fill("secret")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    laptop.reload()
    table = laptop.get_by_role("table", name="Where you are logged in")
    expect(table.get_by_role("row")).to_have_count(3)
    row = table.get_by_role("row").filter(has_text="Phone")
    row.get_by_role("button", name="End the session since").click()
    expect(table.get_by_role("row")).to_have_count(2)
    phone.reload()
    assert phone.url == f"{reference.url}/login"
    copied = laptop.context.cookies()
    (cookie,) = [each for each in copied if each["name"] == COOKIE]
    assert cookie["secure"] and cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    thief.add_cookies(copied)  # type: ignore[arg-type]
    assert who(thief, reference) == "johndoe"
    laptop.get_by_role("button", name="Log out").click()
    expect(laptop.get_by_role("heading", name="Log in")).to_be_visible()
    assert who(thief, reference) is None
    laptop.go_back()  # to the account, if a cache had it
    expect(laptop.get_by_role("heading", name="Log in")).to_be_visible()
    expect(laptop.get_by_role("heading", name="Your account")).to_have_count(0)


def test_all_others_are_ended_with_the_keyboard(browser: Browser, reference: Place) -> None:
    with new_context(browser) as one, new_context(browser) as other:
        for context in (one, other):
            log_in(context.new_page(), reference)
        page = one.pages[0]
        button = page.get_by_role("button", name="End all other sessions")
        for _ in range(20):
            page.keyboard.press("Tab")
            if button.evaluate("each => each === document.activeElement"):
                break
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert who(one, reference) == "alice"
        assert who(other, reference) is None


def test_a_second_tab_leaves_the_first_alone(browser: Browser, reference: Place) -> None:
    with new_context(browser) as context:
        first, second = context.new_page(), context.new_page()
        for page in (first, second):
            page.goto(f"{reference.url}/login?next=/session")
        first.get_by_label("Username").fill("alice")
        first.get_by_label("Password").fill("secretalice")
        first.get_by_role("button").click()
        first.wait_for_url("**/session")
        assert who(context, reference) == "alice"


# --- mallory ----------------------------------------------------------------------------------


def test_forgeries_work_on_the_naive_app(browser: Browser, naive: Place, mallory: int) -> None:
    """SameSite=Lax keeps another site from alice's session, not from the login, nor a port."""
    with new_context(browser) as context:
        page = context.new_page()
        page.goto(f"{naive.url}/login")
        page.locator("[name=username]").fill("alice")
        page.locator("[name=password]").fill("secretalice")
        page.get_by_role("button").click()
        page.wait_for_url("**/account")
        forge(context, mallory, naive, "/logout", "127.0.0.1")
        assert who(context, naive) == "alice"  # Lax
        forge(context, mallory, naive, "/logout", "localhost")
        assert who(context, naive) is None
    for host in ("127.0.0.1", "localhost"):
        with new_context(browser) as context:
            form = {"username": "johndoe", "password": "secret"}
            forge(context, mallory, naive, "/login", host, **form)
            assert who(context, naive) == "johndoe"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("place", ["reference", "silent"])
def test_the_same_forgeries_are_refused(
    browser: Browser, mallory: int, host: str, place: str, request: pytest.FixtureRequest
) -> None:
    """From another site and from another port, with the right token too."""
    there: Place = request.getfixturevalue(place)
    with new_context(browser) as context:
        page = context.new_page()
        log_in(page, there)
        token = page.locator("input[name=csrf_token]").first.get_attribute("value") or ""
        for path in ("/logout", "/account/sessions", "/sessions/end-others"):
            for fields in ({}, {"csrf_token": token}):
                assert forge(context, mallory, there, path, host, **fields) == 403
        form = {"username": "johndoe", "password": "secret"}
        assert forge(context, mallory, there, "/login", host, **form) == 403
        assert forge(context, mallory, there, "/login", host, csrf_token=token, **form) == 403
        assert who(context, there) == "alice"
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        assert who(context, there) is None


@pytest.mark.parametrize("place", ["reference", "silent"])
def test_a_planted_pre_session_logs_nobody_in(
    browser: Browser, mallory: int, place: str, request: pytest.FixtureRequest
) -> None:
    """A page on another port can set the cookie, and mallory knows its token."""
    there: Place = request.getfixturevalue(place)
    page = httpx.get(
        f"http://127.0.0.1:{there.port}/login", trust_env=False, timeout=PATIENCE / 1000
    )
    token = page.text.partition('csrf_token" value="')[2].partition('"')[0]
    planted = page.headers["set-cookie"].partition(";")[0]
    with new_context(browser) as context:
        status = forge(
            context,
            mallory,
            there,
            "/login",
            "localhost",
            cookie=f"{planted}; Secure; Path=/; SameSite=Lax",
            csrf_token=token,
            username="johndoe",
            password="secret",
        )
        kept = {each["name"]: each["value"] for each in context.cookies(there.url)}
        assert kept == dict([planted.split("=", 1)]), "The cookie was not planted."
        assert status == 403
        assert who(context, there) is None
