"""Browsers, as far as cookies and forms go: each keeps its own cookies, and says where it is.

Python's jars keep a `__Host-` cookie whatever its attributes, and never send one over http. So a
visitor keeps what it was given by name, and the attributes are for tests to look at.
"""

import html
import re
from dataclasses import dataclass, field
from typing import Any

from lessons.harness.client import Client
from lessons.harness.people import PASSWORDS, new_session

LOGIN, LOGOUT, ACCOUNT = "/login", "/logout", "/account"
SESSION, SESSIONS, OTHERS = "/session", "/sessions", "/sessions/end-others"
INPUT = re.compile(r"<input\b[^>]*>", re.IGNORECASE)
ATTRIBUTE = re.compile(r"([\w-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))")
OURS = object()  # as an origin: the one that PUBLIC_URL says


@dataclass
class SetCookie:
    """One Set-Cookie header, taken apart; the names of attributes in small letters."""

    name: str
    value: str
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def deletes(self) -> bool:
        """Whether it takes a cookie away."""
        age, end = self.attributes.get("max-age"), self.attributes.get("expires", "")
        return age == "0" or (age or "").startswith("-") or "1970" in end


def cookies_set_by(answer: Any) -> list[SetCookie]:
    """Return the cookies that an answer sets."""
    found = []
    for line in answer.headers.get_list("set-cookie"):
        (name, _, value), *rest = [part.strip().partition("=") for part in line.split(";")]
        attributes = {key.strip().lower(): each.strip() for key, _, each in rest}
        found.append(SetCookie(name.strip(), value.strip().strip('"'), attributes))
    return found


def fields_of(answer: Any) -> dict[str, str]:
    """Return the names and values of the inputs on a page."""
    fields = {}
    for tag in INPUT.findall(answer.text):
        found = {each[0].lower(): each[1] or each[2] or each[3] for each in ATTRIBUTE.findall(tag)}
        if "name" in found:
            fields[found["name"]] = html.unescape(found.get("value", ""))
    return fields


class Visitor:
    """A browser with an app: its cookies, its name, and the last token that it read."""

    def __init__(self, client: Client, name: str = "Firefox", cookies: Any = ()) -> None:
        self._client = client
        client.keep_no_cookies()
        self.name = name
        self.cookies: dict[str, str] = dict(cookies)
        self._token: str | None = ""  # None: not read yet

    def copy(self) -> "Visitor":
        """Return mallory's browser, with a copy of these cookies and the token."""
        other = Visitor(self._client, self.name, self.cookies)
        other._token = self.token
        return other

    @property
    def token(self) -> str:
        """The token of the form that was read last, or of the session after a login."""
        if self._token is None:
            said = self.get(SESSION)
            assert said.status_code == 200, f"{SESSION} says {said.status_code}, not 200."
            self._token = said.json().get("csrf_token", "")
        return self._token

    @property
    def cookie(self) -> str:
        """The Cookie header that it sends."""
        return "; ".join(f"{name}={self.cookies[name]}" for name in self.cookies)

    def headers(
        self, site: str | None = "same-origin", origin: Any = OURS, **more: str
    ) -> dict[str, str]:
        """Return the headers of a request that a page of `origin` makes; None leaves one out."""
        from solutions.support.settings import get_settings

        origin = get_settings().public_url if origin is OURS else origin
        sent = {"User-Agent": self.name, "Cookie": self.cookie}
        sent |= {"Sec-Fetch-Site": site or "", "Origin": origin or ""} | more
        return {name: value for name, value in sent.items() if value}

    def get(self, url: str, **send: Any) -> Any:
        """Open an address, as somebody who types it does."""
        send.setdefault("headers", self.headers("none", None))
        return self._send("GET", url, send)

    def post(self, url: str, token: str | None = None, **form: str) -> Any:
        """Send a form of a page of this app, with the token of the last page that was read."""
        token = self.token if token is None else token
        fields = form | ({"csrf_token": token} if token else {})
        return self._send("POST", url, {"headers": self.headers(), "data": fields})

    def script(self, method: str, url: str) -> Any:
        """Send a request as a script of a page of this app does, the token in the header."""
        more = {"X-CSRF-Token": self.token} if self.token else {}
        return self._send(method, url, {"headers": self.headers(**more)})

    def read_form(self, url: str = LOGIN, **send: Any) -> Any:
        """Open a page with a form, remember its token, and return the page."""
        page = self.get(url, **send)
        assert page.status_code == 200, f"GET {url} answered {page.status_code}, not 200."
        self.read_token(page)
        return page

    def read_token(self, page: Any) -> str:
        """Remember the token of a page with a form, and return it."""
        self._token = fields_of(page).get("csrf_token", "")
        return self._token

    def try_login(self, username: str, password: str, **form: str) -> Any:
        """Open the form, send it, and return the answer."""
        self.read_form()
        return self.post(LOGIN, username=username, password=password, **form)

    def log_in(self, username: str = "johndoe", **form: str) -> Any:
        """Log in with the right password, and return the answer."""
        answer = self.try_login(username, PASSWORDS[username], **form)
        assert answer.status_code == 303, f"A right login: {answer.status_code}, not 303."
        self._token = None
        return answer

    def be_inside(self, username: str) -> None:
        """Be logged in as somebody: by the store, which saves two requests and a hash.

        Where sessions are the learner's own, by a login.
        """
        from solutions.stores.sessions import open_session_store
        from solutions.stores.users import open_user_store

        if self._client.is_learners("sessions"):
            self.log_in(username)
            return
        person = self._client.run(open_user_store().get(username))
        self.cookies["__Host-session"], session = new_session(person)
        self._client.run(open_session_store().add(session))
        self._token = session.csrf_token

    @property
    def status(self) -> int:
        """The status with which /session answers this browser."""
        return int(self.get(SESSION).status_code)

    def _send(self, method: str, url: str, send: Any) -> Any:
        answer = self._client.request(method, url, **send)
        for each in cookies_set_by(answer):
            if each.deletes:
                self.cookies.pop(each.name, None)
            else:
                self.cookies[each.name] = each.value
        return answer
