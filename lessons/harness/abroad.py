"""Logins at providers, as browsers go through them: to the provider, and back with its answer."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lessons.harness.internet import Internet, internet_of
from lessons.harness.kept import flows_in, put_back, sessions_in
from lessons.harness.provider import HONEST, Lie, Provider
from lessons.harness.verdicts import twin
from lessons.harness.visitors import SESSION, Visitor, cookies_set_by

LOGIN_AT, CALLBACK = "/login/{}", "/callback/{}"
IDENTITIES = "/identities"
GOOGLE, GITHUB = "https://accounts.google.com", "https://github.com/login/oauth"

# People as a provider knows them. Mallory calls herself what she likes.
ERIN = {
    "sub": "110248495921238986420",
    "name": "Erin Example",
    "email": "erin@example.com",
    "email_verified": True,
    "preferred_username": "erin",
}
MALLORY = ERIN | {"sub": "666", "name": "Mallory"}
ERIN_AT_GITHUB = {"id": 583231, "login": "erin", "name": "Erin", "email": "erin@example.com"}

# Each provider as the app keeps it after a login, and its metadata, to copy.
_ready: dict[str, tuple[float, Any, str]] = {}


@dataclass
class Abroad:
    """The three providers of a test, by their names in addresses, and what was asked of them."""

    google: Provider  # sends no `iss` along with its answers
    github: Provider
    oidc: Provider  # promises one
    internet: Internet
    # Logins and links that `LoginCalls.identify` goes on with: their addresses and flows.
    under_way: dict[tuple[str, bool], tuple[str, Any]] = field(default_factory=dict)
    _begun: dict[str, tuple[Any, str, Any]] = field(default_factory=dict)  # for `lie_to`
    _first: dict[str, Any] = field(default_factory=dict)  # by provider: address, cookies, rows

    def tell(self, note: Callable[[str], None]) -> None:
        """Let a function know why a provider refuses a code: the browser is not told."""
        for each in (self.google, self.github, self.oidc):
            each.tell = note

    def be_known(self, run: Callable[[Any], Any]) -> None:
        """Let the app have the metadata and keys of the providers, as after a login with each.

        They are asked for once a run, and each test gets a copy: to ask costs as much as a login.
        """
        from solutions.support.providers import open_providers

        kept = open_providers()._ready
        if not _ready:
            for name in ("google", "github", "oidc"):
                provider = run(open_providers().get(name))
                if provider.has_id_tokens:
                    run(provider.client.fetch_jwk_set())
            for name, (until, provider) in kept.items():
                _ready[name] = until, provider, json.dumps(provider.client.server_metadata)
            self.internet.asked.clear()
        for name, (until, provider, said) in _ready.items():
            client = copy(provider.client)
            client.server_metadata = json.loads(said)
            client.client_kwargs = dict(client.client_kwargs)
            kept[name] = until, replace(provider, client=client)

    def be_strangers(self) -> None:
        """Let the app ask the providers anew for their metadata and keys."""
        from solutions.support.providers import open_providers

        open_providers.cache_clear()

    def clients(self) -> dict[str, dict[str, str]]:
        """Return what the app keeps of each provider's client, as text: a part for each attribute.

        But for the keys, which Authlib asks for itself.
        """
        from solutions.support.providers import open_providers

        kept = {name: vars(each.client) for name, (_, each) in open_providers()._ready.items()}
        return {
            name: {part: repr(_without_keys(value)) for part, value in parts.items()}
            for name, parts in kept.items()
        }

    def __getitem__(self, name: str) -> Provider:
        provider: Provider = getattr(self, name)
        return provider

    def log_in(
        self,
        visitor: Visitor,
        name: str = "oidc",
        person: Mapping[str, Any] = ERIN,
        lie: Lie = HONEST,
        **params: str,
    ) -> Any:
        """Log in at a provider; return the answer to the browser that comes back."""
        address = begin(visitor, name, **params)
        return come_back(visitor, self[name].answer(address, person, lie))

    def log_in_as_before(
        self,
        visitor: Visitor,
        name: str = "oidc",
        person: Mapping[str, Any] = ERIN,
        lie: Lie = HONEST,
    ) -> Any:
        """Log in as with `log_in`.

        To save a request, a new browser goes on from where the first one was at this provider, if
        the app keeps that where it should.
        """
        from solutions.stores.flows import open_flow_store
        from solutions.stores.sessions import open_session_store

        flow_store, session_store = open_flow_store(), open_session_store()
        if visitor.cookies:
            return self.log_in(visitor, name, person, lie)
        if name in self._first:
            address, cookies, flow, session = self._first[name]
            visitor.cookies.update(cookies)
            put_back(flow_store, flow)
            put_back(session_store, session)
        else:
            before = set(flows_in(flow_store))
            address = begin(visitor, name)
            flows = flows_in(flow_store)
            new = [flows[key] for key in flows if key not in before]
            sessions = sessions_in(session_store, pre_sessions=True)
            if len(new) == 1 and (session := sessions.get(new[0].session)):
                self._first[name] = address, dict(visitor.cookies), new[0], session
        return come_back(visitor, self[name].answer(address, person, lie))

    def lie_to(self, visitor: Visitor, name: str, person: Mapping[str, Any], lie: Lie) -> Any:
        """Log in as with `log_in`, where nobody is to get in.

        To save a request, the login that was begun last goes on from where it was, if the app keeps
        it where it should.
        """
        from solutions.stores.flows import open_flow_store

        if name not in self._begun or self._begun[name][0] is not visitor:
            self.begin(visitor, name)
        _, address, flow = self._begun[name]
        if flow is None:
            del self._begun[name]
        else:
            put_back(open_flow_store(), flow)
        return come_back(visitor, self[name].answer(address, person, lie))

    def begin(self, visitor: Visitor, name: str, link: bool = False) -> str:
        """Begin a login, or a link, with which `lie_to` goes on, and return where it leads."""
        from solutions.stores.flows import open_flow_store

        before = set(flows_in(open_flow_store()))
        address = begin_link(visitor, name) if link else begin(visitor, name)
        flows = flows_in(open_flow_store())
        new = [flows[key] for key in flows if key not in before]
        self._begun[name] = visitor, address, new[0] if len(new) == 1 else None
        return address


def _without_keys(value: Any) -> Any:
    return value if type(value) is not dict else {k: value[k] for k in value if k != "jwks"}


@contextmanager
def abroad() -> Iterator[Abroad]:
    """Let the providers of the settings be all of the internet."""
    from solutions.support.settings import get_settings

    settings = get_settings()

    def client_of(name: str) -> tuple[str, str]:
        secret = getattr(settings, f"{name}_client_secret").get_secret_value()
        return getattr(settings, f"{name}_client_id"), secret

    google = Provider(GOOGLE, *client_of("google"), promises_iss=False)
    github = Provider(GITHUB, *client_of("github"), kind="github", promises_iss=False)
    oidc = Provider(settings.oidc_issuer, *client_of("oidc"))
    with internet_of(google, github, oidc) as internet:
        yield Abroad(google, github, oidc, internet)


def begin(visitor: Visitor, name: str = "oidc", **params: str) -> str:
    """Open the address at which a login begins; return where it leads."""
    answer = visitor.get(LOGIN_AT.format(name), params=params)
    assert answer.status_code == 302, f"GET /login/{name}: {answer.status_code}, not 302."
    return str(answer.headers["location"])


def begin_link(visitor: Visitor, name: str) -> str:
    """Begin to link a provider, from inside; return where it leads."""
    read_token_in_store(visitor)
    page = visitor.post(f"{IDENTITIES}/{name}")
    assert page.status_code in (200, 302, 303), f"POST {IDENTITIES}/{name}: {page.status_code}."
    return leads_to(page)


def come_back(visitor: Visitor, address: str) -> Any:
    """Go where the provider sends a browser."""
    from solutions.support.settings import get_settings

    ours = get_settings().public_url
    with twin():
        assert address.startswith(f"{ours}/callback/"), f"A login comes back to {address:.60}."
    headers = visitor.headers("cross-site", None)
    answer = visitor.get(address.removeprefix(ours), headers=headers)
    if cookies_set_by(answer):
        visitor._token = None  # of the new session, to be read when it is needed
        read_token_in_store(visitor)
    return answer


def leads_to(page: Any) -> str:
    """Return where an answer leads: by a redirect, or by the first link of a page."""
    import html
    import re

    if "location" in page.headers:
        return str(page.headers["location"])
    link = re.search(r"<a\b[^>]*href=\"(https?://[^\"]+)", page.text)
    assert link, "The page leads nowhere."
    return html.unescape(link[1])


def query_of(address: str) -> dict[str, str]:
    """Return the parameters of an address."""
    return dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))


def name_of(visitor: Visitor) -> str | None:
    """Return who a browser is logged in as, or None."""
    answer = visitor.get(SESSION)
    return str(answer.json()["username"]) if answer.status_code == 200 else None


def is_outside_in_store(visitor: Visitor) -> bool:
    """Tell whether the store says that nobody is logged in by a browser's cookie.

    False also where the app keeps its sessions in another way: then `name_of` has to ask.
    """
    from solutions.stores.sessions import open_session_store
    from solutions.support.digests import digest_of

    kept = sessions_in(open_session_store(), pre_sessions=True)
    return all(digest_of(value) in kept for value in visitor.cookies.values())


def read_token_in_store(visitor: Visitor) -> None:
    """Let a browser that is logged in know the token of its forms by the store: to save a request.

    Where the app keeps its sessions in another way it has to ask, as before.
    """
    from solutions.stores.sessions import open_session_store
    from solutions.support.digests import digest_of

    kept = sessions_in(open_session_store())
    found = [kept[key] for key in map(digest_of, visitor.cookies.values()) if key in kept]
    if visitor._token is None and found:
        visitor._token = found[0].csrf_token


def owner_in_store(visitor: Visitor) -> str | None:
    """Return whose session a browser's cookie is by the store, which saves a request.

    None also where the app keeps its sessions in another way.
    """
    from solutions.stores.sessions import open_session_store
    from solutions.support.digests import digest_of

    kept = sessions_in(open_session_store())
    owners = [kept.get(digest_of(value)) for value in visitor.cookies.values()]
    return next((each.username for each in owners if each), None)
