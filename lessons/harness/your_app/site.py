"""An app with its description: people who log in, and requests with the places filled in."""

import html
import importlib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlencode

import httpx2

from lessons.harness.client import body_of
from lessons.harness.hostile import take_apart
from lessons.harness.meter import Meter
from lessons.harness.primitives import Hash
from lessons.harness.transcript import Transcript
from lessons.harness.your_app.description import HOOKS, Action, Description
from lessons.harness.your_app.findings import NotTried
from lessons.harness.your_app.routes import looks_public, plain_gets
from lessons.harness.your_app.target import BadTarget, NoAnswer, Target

WAITS = 60  # seconds in all that a server's limiter is waited for; --app moves the clock
DOORS = 12  # guarded paths that an attack tries
INPUT = re.compile(r"<input\b[^>]*>", re.IGNORECASE)
ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""")


@dataclass(frozen=True)
class Person:
    """Somebody with an account."""

    username: str
    password: str
    email: str
    made: bool = True  # by this run: then it may be deleted

    @property
    def places(self) -> dict[str, str]:
        return {"username": self.username, "password": self.password, "email": self.email}


@dataclass(frozen=True)
class Ticket:
    """What somebody has after a login."""

    person: Person
    token: str
    refresh: str | None
    cookies: dict[str, str]
    answer: httpx2.Response

    @property
    def places(self) -> dict[str, str]:
        places = {**self.person.places, "token": self.token, "refresh": self.refresh or ""}
        return places | {f"cookie:{name}": self.cookies[name] for name in self.cookies}


@dataclass(frozen=True)
class Cookie:
    """A cookie as an answer sets it."""

    name: str
    value: str
    flags: dict[str, str]

    @property
    def is_deletion(self) -> bool:
        return not self.value or self.value == '""' or self.flags.get("max-age") == "0"


def cookies_of(answer: httpx2.Response) -> list[Cookie]:
    """Return the cookies that an answer sets."""
    found = []
    for line in answer.headers.get_list("set-cookie"):
        pair, *flags = line.split(";")
        name, _, value = pair.strip().partition("=")
        split = (flag.strip().partition("=") for flag in flags)
        found.append(
            Cookie(name, value.strip('"'), {key.lower(): value for key, _, value in split})
        )
    return found


def find(answer: httpx2.Response, where: str) -> Any:
    """Return what an answer has at a place of the description, or None."""
    if where.startswith("cookie:"):
        name = where.removeprefix("cookie:")
        kept = [each.value for each in cookies_of(answer) if each.name == name]
        return kept[-1] if kept and kept[-1] else None
    value: Any = body_of(answer)
    for step in where.split("."):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def fill(template: Any, places: dict[str, Any]) -> Any:
    """Return a template with its places filled in. A place that stands alone keeps its kind."""
    if isinstance(template, dict):
        return {key: fill(template[key], places) for key in template}
    if isinstance(template, list):
        return [fill(each, places) for each in template]
    if not isinstance(template, str):
        return template
    alone = re.fullmatch(r"\{([^{}]+)\}", template)
    if alone and alone[1] in places:
        return places[alone[1]]
    return re.sub(r"\{([^{}]+)\}", lambda found: str(places.get(found[1], found[0])), template)


def _fill_path(path: str, places: dict[str, Any]) -> str:
    """Return a path with its places filled in, each as one part of it."""
    return re.sub(
        r"\{([^{}]+)\}",
        lambda found: (
            quote(str(places[found[1]]), safe="@", errors="surrogatepass")
            if found[1] in places
            else found[0]
        ),
        path,
    )


def hidden_fields(page: str) -> dict[str, str]:
    """Return the hidden fields of a page's forms."""
    fields = {}
    for found in INPUT.findall(page):
        has = {
            name.lower(): html.unescape(a or b or c) for name, a, b, c in ATTRIBUTE.findall(found)
        }
        if has.get("type", "").lower() == "hidden" and "name" in has:
            fields[has["name"]] = has.get("value", "")
    return fields


class Hooks:
    """The owner's functions; those that are not there are None."""

    def __init__(self, module: Any = None) -> None:
        self.prepare, self.add, self.activate, self.disable, self.remove, self.rights, self.key = (
            getattr(module, name, None) for name in HOOKS
        )

    @classmethod
    def load(cls, name: str) -> "Hooks":
        """Import the owner's module. Raises BadTarget with a sentence."""
        try:
            module: ModuleType = importlib.import_module(name)
        except Exception as error:
            said = " ".join(str(error).split())
            raise BadTarget(
                f"hooks.module: {name} cannot be imported: {type(error).__name__}: {said}"
            ) from None
        if not any(hasattr(module, each) for each in HOOKS):
            raise BadTarget(f"hooks.module: {name} has none of {', '.join(HOOKS)}.")
        return cls(module)


@dataclass
class Site:
    """An app, its description, and what is known of it."""

    target: Target
    description: Description
    hooks: Hooks = field(default_factory=Hooks)
    meter: Meter | None = None
    document: dict[str, Any] | None = None  # its OpenAPI document
    waits: int = WAITS
    ticket: Ticket | None = None  # of somebody who is logged in
    odd: list[tuple[str, httpx2.Response]] = field(default_factory=list)  # answers to odd logins
    guessed: object = None  # what came of guessing at a password
    doors: list[str] | None = None  # see Visit.guarded
    sent: int = 0
    made: list[str] = field(default_factory=list)  # the names of the people made by this run
    logged: Callable[[], str] = lambda: ""  # what the app has logged and printed
    spare: list[Person] = field(default_factory=list)  # people for attacks that leave no trace
    end: float = field(default_factory=lambda: time.perf_counter() + 600)

    def visit(self) -> "Visit":
        """Begin an attack."""
        self._visits = getattr(self, "_visits", 0) + 1
        return Visit(self, self._visits % 250 + 2)

    @property
    def can_make_people(self) -> bool:
        return self.description.register_ is not None or self.hooks.add is not None


class Visit:
    """One attack's way through a site, from an address of its own."""

    def __init__(self, site: Site, caller: int = 1) -> None:
        self.site = site
        self.about = site.description
        self.transcript = Transcript()
        self.caller = caller
        self.stack = ExitStack()
        self.limited = ""  # the request that a limiter answered last, in the app's place
        self._outside: httpx2.Response | None = None

    # --- requests ---

    def ask(
        self,
        action: Action,
        ticket: Ticket | None = None,
        places: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
        planted: dict[str, str] | None = None,
        **changes: Any,
    ) -> httpx2.Response:
        """Send what an action describes; with a ticket, as its holder.

        `more` joins the body, `planted` the cookies; `changes` are httpx's, and replace what the
        action says.
        """
        method, path, sent = self.request(action, ticket, places, headers, more, planted, **changes)
        return self.raw(method, path, **sent)

    def request(
        self,
        action: Action,
        ticket: Ticket | None = None,
        places: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
        planted: dict[str, str] | None = None,
        **changes: Any,
    ) -> tuple[str, str, dict[str, Any]]:
        """Return the request that an action describes."""
        known = {**(ticket.places if ticket else {}), **(places or {})}
        jar = dict(planted or {})
        jar |= ticket.cookies if ticket and self.about.use.cookie else {}
        shown: dict[str, str] = {}
        if ticket:
            if self.about.use.cookie:
                jar[self.about.use.cookie] = ticket.token
            elif self.about.use.header:
                name, _, value = self.about.use.header.partition(":")
                shown[name.strip()] = fill(value.strip() + " ", known)[:-1]
        hidden: dict[str, str] = {}
        if action.page:
            hidden = self._hidden(action.page, shown, jar, known)
        jar |= fill(action.cookies, known)
        shown |= fill(action.headers, known) | (headers or {})
        if action.method != "GET" and "origin" not in {name.lower() for name in shown}:
            shown["Origin"] = self.site.target.base  # as the browser of its own page would
        shown = {name: shown[name] for name in shown if shown[name] is not None}
        if jar:
            shown["Cookie"] = "; ".join(f"{name}={jar[name]}" for name in jar)
        sent: dict[str, Any] = {"headers": shown}
        if action.form is not None or hidden:
            sent["data"] = {**hidden, **fill(action.form or {}, known), **(more or {})}
        elif action.body is not None:
            sent["json"] = {**fill(action.body, known), **(more or {})}
        elif more:
            sent["json"] = more
        if action.query is not None:
            sent["params"] = fill(action.query, known)
        sent |= changes
        return action.method, _fill_path(action.path, known), sent

    def _hidden(
        self, page: str, shown: dict[str, str], jar: dict[str, str], known: dict[str, Any]
    ) -> dict[str, str]:
        """Fetch a page with a form, and take its hidden fields and its cookies along."""
        cookie = {"Cookie": "; ".join(f"{name}={jar[name]}" for name in jar)} if jar else {}
        method, _, path = page.partition(" ")
        answer = self.raw(method, _fill_path(path, known), headers=shown | cookie)
        jar |= {each.name: each.value for each in cookies_of(answer) if not each.is_deletion}
        return hidden_fields(answer.text)

    def raw(self, method: str, path: str, **sent: Any) -> httpx2.Response:
        """Send a request as it is. A crash is a 500, and no answer a 504."""
        self._count(1)
        shown = dict(sent)
        if "json" in sent and _is_odd(sent["json"]):  # httpx cannot write a lone surrogate
            sent["content"] = json.dumps(sent.pop("json"))
            sent["headers"] = {**sent.get("headers", {}), "Content-Type": "application/json"}
        if "data" in sent and _is_odd(sent["data"]):
            sent["content"] = urlencode(sent.pop("data"), errors="surrogatepass")
            kind = "application/x-www-form-urlencoded"
            sent["headers"] = {**sent.get("headers", {}), "Content-Type": kind}
        if "params" in sent and _is_odd(sent["params"]):
            path += "?" + urlencode(sent.pop("params"), errors="surrogatepass")
        sent["headers"] = {
            name: value if value.isascii() else value.encode("utf-8", "surrogatepass")
            for name, value in sent.get("headers", {}).items()
        }
        try:
            answer = self.site.target.send(method, path, self.caller, **sent)
        except NoAnswer as error:
            answer = httpx2.Response(504, request=httpx2.Request(method, "http://app" + path[:99]))
            answer.extensions["hang"] = str(error)
        crash = getattr(self.site.target, "crash", "")
        status = str(answer.extensions.get("hang") or f"{answer.status_code} {crash}".strip())
        self._note(method, path, shown, status, answer)
        if answer.status_code == 429:
            self.limited = f"{method} {path}"
        return answer

    def together(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx2.Response]:
        """Send requests at once."""
        self._count(len(requests))
        shown = [(method, path, dict(sent)) for method, path, sent in requests]
        try:
            answers = self.site.target.together(requests)
        except NoAnswer as error:
            raise NotTried(f"of {len(requests)} requests at once some got {error}") from None
        for (method, path, sent), answer in zip(shown, answers, strict=True):
            self._note(method, path, sent, str(answer.status_code), answer)
        return answers

    def _count(self, requests: int) -> None:
        if time.perf_counter() > self.site.end:
            raise NotTried("the run took too long before: its time is over")
        self.site.sent += requests

    def _note(
        self, method: str, path: str, sent: dict[str, Any], end: str, answer: httpx2.Response
    ) -> None:
        sent = self._masked(sent)
        headers = {k: v for k, v in sent.get("headers", {}).items() if k != "Origin"}
        sent["headers"] = headers or None
        body = body_of(answer) if len(answer.content) < 100_000 else "..."
        self.transcript.request(
            method,
            self._masked(path)[:200],
            {k: v for k, v in sent.items() if v},
            end,
            lambda: _brief(body),
        )

    def _masked(self, value: Any) -> Any:
        """Return what is shown of a request: without the passwords that the owner wrote down."""
        if isinstance(value, dict):
            return {key: self._masked(value[key]) for key in value}
        if isinstance(value, list):
            return [self._masked(each) for each in value]
        for each in self.about.accounts:
            if isinstance(value, str):
                value = value.replace(each.password, "***").replace(quote(each.password), "***")
        return value

    def note(self, event: str) -> None:
        """Note what happened without a request."""
        self.transcript.note(event)

    # --- people ---

    def somebody(self, which: int = 0) -> Person:
        """Return a person for attacks that leave the account as it is."""
        while len(self.site.spare) <= which:
            if self.site.can_make_people:
                self.site.spare.append(self.make_somebody())
                continue
            given = [each for each in self.about.accounts if not each.admin]
            if len(given) <= which:
                raise NotTried(
                    f"it needs {('one account', 'two accounts')[which]} without special rights: "
                    "add to [[accounts]]"
                )
            each = given[len(self.site.spare)]
            email = each.email or (each.username if "@" in each.username else "")
            self.site.spare.append(Person(each.username, each.password, email, made=False))
        return self.site.spare[which]

    def administrator(self) -> Ticket | None:
        """Log an administrator in, if one is known, or a hook makes one."""
        given = next((each for each in self.about.accounts if each.admin), None)
        if given:
            return self.log_in(Person(given.username, given.password, given.email, made=False))
        if self.site.hooks.rights is not None and self.site.can_make_people:
            person = self.make_somebody()
            self.hook("rights", self.login_name(person))
            return self.log_in(person)
        return None

    def login_name(self, person: Person) -> str:
        """Return the name by which the app knows somebody: what the login takes."""
        places = self.about.login.places
        return person.email if "email" in places and "username" not in places else person.username

    def new_person(self, password: str | None = None) -> Person:
        """Think somebody up, whom the app does not know."""
        name = f"mallory{secrets.token_hex(4)}"
        about = self.about
        # Where the name is the address, both are the same.
        uses_email = "username" not in (about.register_ or about.login).places
        email = f"{name}@example.com"
        return Person(
            email if uses_email else name, password or f"Tr0mbone-{secrets.token_hex(8)}", email
        )

    def make_somebody(self, password: str | None = None, **more: Any) -> Person:
        """Make a person who can log in. Raises NotTried where that does not work."""
        person = self.new_person(password)
        answer = None
        if self.about.register_ is not None:
            answer = self.register(person, **more)
            if answer.status_code >= 400:
                raise NotTried(f"{self.about.register_.route} makes no account: {said(answer)}")
        elif self.site.hooks.add is not None:
            self.hook("add", person.username, person.email, person.password)
        else:
            raise NotTried("it needs an account of its own: describe [register], or a hook `add`")
        self.site.made.append(person.username)
        if self.site.hooks.activate is not None:
            self.hook("activate", self.login_name(person))
        return person

    def register(self, person: Person, **more: Any) -> httpx2.Response:
        """Ask for an account."""
        assert self.about.register_
        answer = self.ask(self.about.register_, places=person.places, more=more)
        if answer.status_code == 429 and self.wait_for(answer):
            answer = self.ask(self.about.register_, places=person.places, more=more)
        return answer

    def hook(self, name: str, *args: Any) -> Any:
        """Call a hook of the owner's. Raises NotTried when it fails."""
        function = getattr(self.site.hooks, name)
        if name != "key":
            self.note(f"the hook {name} is called for {args[0]}")
        try:
            return self.site.target.call(function, *args)
        except NoAnswer:
            raise NotTried(f"the hook {name} does not end") from None
        except Exception as error:
            raise NotTried(
                f"the hook {name} fails: {type(error).__name__}: {' '.join(str(error).split())}"
            ) from None

    # --- logins and tokens ---

    def try_login(
        self, person: Person, password: Any = None, waits: bool = True, **changes: Any
    ) -> httpx2.Response:
        """Post a login, right or wrong. Where a limiter asks to wait, wait once, if `waits`."""
        places = person.places | ({} if password is None else {"password": password})
        answer = self.ask(self.about.login, places=places, **changes)
        if answer.status_code == 429 and waits and self.wait_for(answer):
            answer = self.ask(self.about.login, places=places, **changes)
        return answer

    def ticket(self, person: Person, answer: httpx2.Response) -> Ticket | None:
        """Return what an answer to a login gives, or None."""
        token = find(answer, self.about.login.token)
        if answer.status_code >= 400 or not isinstance(token, str) or not token:
            return None
        refresh = find(answer, self.about.refresh.source) if self.about.refresh else None
        jar = {each.name: each.value for each in cookies_of(answer) if not each.is_deletion}
        return Ticket(person, token, refresh if isinstance(refresh, str) else None, jar, answer)

    def log_in(self, person: Person) -> Ticket:
        """Log somebody in. Raises NotTried where the right password does not help."""
        answer = self.try_login(person)
        ticket = self.ticket(person, answer)
        if ticket is None:
            reason = f"{self.about.login.route} does not let {person.username} in: {said(answer)}"
            if answer.status_code == 429:
                reason += " (its limiter has locked the account, or this address)"
            elif answer.status_code < 400:
                reason += f"; there is no token at {self.about.login.token}"
            raise NotTried(reason)
        return ticket

    def alice(self, fresh: bool = False) -> Ticket:
        """Log a person in whom everything lets in that should, and nothing that asks for nobody.

        A server's hashes take their time: where an attack leaves the session as it is, one
        session is enough for all of these. `fresh` asks for a new one.
        """
        kept = self.site.ticket
        if kept and not fresh and not self.site.target.in_process and good(self.me(kept)):
            return self.let_in(kept)
        self.site.ticket = self.let_in(self.log_in(self.somebody()))
        return self.site.ticket

    def known(self) -> Person:
        """Return a person who can log in; by now, or as was seen before on a server."""
        if self.site.ticket is None or self.site.target.in_process:
            self.site.ticket = self.log_in(self.somebody())
        return self.site.ticket.person

    def let_in(self, ticket: Ticket) -> Ticket:
        """See that a ticket opens what it should, and that without one it is shut."""
        answer = self.me(ticket)
        if not good(answer):
            raise NotTried(f"{self.about.me.route} does not let its user in: {said(answer)}")
        outside = self.outside()
        if good(outside) and outside.content == answer.content:
            raise NotTried(
                f"{self.about.me.route} is open to everybody, so no token proves anything"
            )
        return ticket

    def me(self, ticket: Ticket | None, **changes: Any) -> httpx2.Response:
        """Ask who is calling."""
        return self.ask(self.about.me, ticket, **changes)

    def outside(self) -> httpx2.Response:
        """Return what [me] answers to nobody."""
        if self._outside is None:
            self._outside = self.me(None)
        return self._outside

    def opens(self, ticket: Ticket) -> bool:
        """Tell whether [me] lets this in: as it does its user, and not as it does nobody."""
        answer = self.me(ticket)
        if not good(answer):
            return False
        outside = self.outside()
        return not (good(outside) and outside.content == answer.content)

    def get(self, path: str, ticket: Ticket | None = None) -> httpx2.Response:
        """Ask for a path, as somebody or as nobody."""
        return self.ask(Action(route=f"GET {path}"), ticket)

    def guarded(self) -> list[str]:
        """Return the plain paths that are shut to nobody's and open to a plain user's token."""
        if self.site.doors is None:
            ticket = self.log_in(self.somebody())
            shut = [
                path
                for path in plain_gets(self.site.document)
                if not looks_public(path) and self.get(path).status_code in (401, 403)
            ]
            self.site.doors = [path for path in shut if good(self.get(path, ticket))][:DOORS]
        return self.site.doors

    def with_token(self, ticket: Ticket, token: str) -> Ticket:
        return replace(ticket, token=token)

    def claims(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return header and claims of a JWT. Raises NotTried for another kind of token."""
        try:
            header, claims = take_apart(token)
        except ValueError:
            raise NotTried("its tokens are no JWTs, so there is nothing to forge") from None
        if not isinstance(header, dict) or not isinstance(claims, dict):
            raise NotTried("its tokens are no JWTs, so there is nothing to forge")
        return header, claims

    def is_jwt(self, token: str) -> bool:
        try:
            self.claims(token)
        except NotTried:
            return False
        return True

    def renew(self, ticket: Ticket, refresh: str) -> httpx2.Response:
        """Spend a refresh token."""
        method, path, sent = self.spending(ticket, refresh)
        return self.raw(method, path, **sent)

    def spending(self, ticket: Ticket, refresh: str) -> tuple[str, str, dict[str, Any]]:
        """Return the request that spends a refresh token.

        The access token goes along only where the description says so: mostly it is dead by then.
        """
        assert self.about.refresh
        return self.request(self.about.refresh, places=replace(ticket, refresh=refresh).places)

    def renewed(self, ticket: Ticket, answer: httpx2.Response) -> Ticket | None:
        """Return what an answer to a refresh gives, or None."""
        assert self.about.refresh
        token = find(answer, self.about.refresh.token)
        if answer.status_code >= 400 or not isinstance(token, str) or not token:
            return None
        refresh = find(answer, self.about.refresh.source)
        jar = {each.name: each.value for each in cookies_of(answer) if not each.is_deletion}
        return replace(
            ticket,
            token=token,
            refresh=refresh if isinstance(refresh, str) else None,
            cookies=ticket.cookies | jar,
            answer=answer,
        )

    # --- time and hashes ---

    def later(self, span: timedelta) -> None:
        """Move the clock on, to the end of this attack."""
        if not self.site.target.in_process:
            raise NotTried("only with --app the clock can be moved")
        import time_machine

        self.note(f"{span} later")
        self.stack.enter_context(time_machine.travel(span))

    def wait_for(self, answer: httpx2.Response) -> bool:
        """Wait until a limiter lets somebody in again, where that does not take long."""
        said = answer.headers.get("retry-after", "")
        seconds = int(said) if said.isdigit() else 3600
        if not self.site.target.in_process and seconds > self.site.waits:
            return False
        self.limited = ""  # it is asked again
        if self.site.target.in_process:
            self.later(timedelta(seconds=seconds + 1))
            return True
        self.site.waits -= seconds
        self.note(f"waits {seconds} seconds, as it is told")
        time.sleep(seconds + 0.5)
        return True

    @contextmanager
    def counting(self) -> Iterator[list[Hash]]:
        """Count the hashes of a block. Raises NotTried where nobody can."""
        if self.site.meter is None:
            raise NotTried("only with --app the meter sees the hashes")
        with self.site.meter.counting() as hashes:
            yield hashes


def good(answer: httpx2.Response) -> bool:
    """Tell whether an answer lets its caller in."""
    return 200 <= answer.status_code < 300


def said(answer: httpx2.Response) -> str:
    """Return an answer in a few words."""
    if hang := answer.extensions.get("hang"):
        return str(hang)
    text = " ".join(answer.text.split())
    if answer.status_code in range(300, 400):
        text = f"to {answer.headers.get('location', 'nowhere')}"
    return f"{answer.status_code} {text[:120]}".strip()


def _brief(body: Any) -> Any:
    if isinstance(body, dict):
        return body
    text = body if isinstance(body, str) else json.dumps(body)
    return text[:300]


def _is_odd(value: Any) -> bool:
    """Tell whether a body has what UTF-8 cannot write."""
    try:
        repr(value).encode()
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
