"""Lesson 08: what mallory's page does with somebody's browser."""

import secrets
from collections.abc import Iterator

import httpx2

from lessons.harness.your_app.attacks import attack
from lessons.harness.your_app.description import Action
from lessons.harness.your_app.findings import Level, NotTried, Success
from lessons.harness.your_app.site import Cookie, Ticket, Visit, cookies_of, find, good, said

FOREIGN = "https://mallory.example"
NO_COOKIE = "its tokens are in no cookie, so a browser sends none by itself"


def _cookie(visit: Visit, ticket: Ticket) -> Cookie | None:
    """Return the cookie with the token, as the login has set it."""
    name = visit.about.use.cookie
    return next((each for each in cookies_of(ticket.answer) if each.name == name), None)


def _kept_in_cookies(visit: Visit, ticket: Ticket) -> list[Cookie]:
    """Return the cookies of a login that are worth stealing."""
    names = {visit.about.use.cookie}
    places = [visit.about.login.token] + (
        [visit.about.refresh.source] if visit.about.refresh else []
    )
    names |= {each.removeprefix("cookie:") for each in places if each.startswith("cookie:")}
    return [each for each in cookies_of(ticket.answer) if each.name in names]


@attack(
    "cookie-flags",
    "the cookie can be read by scripts, or goes where it should not",
    lesson="08",
    level="hardening",
    authority="ASVS 3.3.4",
)
def cookie_flags(visit: Visit) -> Success | None:
    ticket = visit.log_in(visit.somebody())
    cookies = _kept_in_cookies(visit, ticket)
    if not cookies:
        raise NotTried(NO_COOKIE)
    missing = []
    for cookie in cookies:
        wanted = ["httponly", "samesite"]
        if visit.site.target.base.startswith("https:"):
            wanted.append("secure")
        missing += [f"{cookie.name} has no {flag}" for flag in wanted if flag not in cookie.flags]
        if cookie.flags.get("samesite", "").lower() == "none" and "secure" not in cookie.flags:
            missing.append(f"{cookie.name} has SameSite=None without Secure")
    return Success("; ".join(missing)) if missing else None


@attack(
    "csrf",
    "a page of mallory's makes a browser act for its user",
    lesson="08",
    level="break-in",
    authority="ASVS 3.5.1",
)
def csrf(visit: Visit) -> Success | None:
    if not visit.about.use.cookie:
        raise NotTried(NO_COOKIE)
    ticket = visit.alice(fresh=True)
    cookie = _cookie(visit, ticket)
    site = cookie.flags.get("samesite", "").lower() if cookie else ""
    level: Level = "hardening" if site in ("lax", "strict") else "break-in"
    tried, reason = (
        False,
        "nothing is described that changes anything: [password], [patch], [[thing]]",
    )
    for action in _actions(visit):
        if not _is_sent(visit, action, ticket):
            tried = True
            continue
        if action is visit.about.logout:
            ticket, level = visit.log_in(visit.somebody()), "hardening"
        if action is visit.about.password:
            if not visit.site.can_make_people:
                continue
            ticket = visit.log_in(visit.make_somebody())
        places = {"new_password": f"Tr0mbone-{secrets.token_hex(8)}"}
        foreign = _as_a_foreign_page_would(visit, action, ticket, places)
        if action is visit.about.logout:  # that may have ended the session
            ticket = visit.log_in(ticket.person)
        own = visit.ask(action, ticket, places)
        if own.status_code >= 400 and foreign.status_code >= 400:
            reason = f"{action.route} does not let its user in either: {said(own)}"
            continue
        tried = True
        # A password that the first has changed is wrong for the second.
        same = action is visit.about.password or _ends_alike(foreign, own)
        if foreign.status_code < 400 and same and not _is_a_login(foreign):
            rest = f"; only SameSite={site} stands between" if site in ("lax", "strict") else ""
            return Success(f"{action.route} asks for no sign that the page is its own{rest}", level)
    if not tried:
        raise NotTried(reason)
    return None


def _actions(visit: Visit) -> Iterator[Action]:
    yield from (thing.make for thing in visit.about.thing)
    for action in (visit.about.patch, visit.about.password, visit.about.logout):
        if action is not None:
            yield action


def _is_sent(visit: Visit, action: Action, ticket: Ticket) -> bool:
    """Tell whether browsers send this for a foreign page. All but a form they ask about first."""
    if action.method in ("GET", "POST"):
        return True
    _, path, _ = visit.request(action, ticket)
    asking = {"Origin": FOREIGN, "Access-Control-Request-Method": action.method}
    allows = visit.raw("OPTIONS", path, headers=asking).headers
    return (
        allows.get("access-control-allow-origin") == FOREIGN
        and allows.get("access-control-allow-credentials", "").lower() == "true"
    )


def _as_a_foreign_page_would(
    visit: Visit, action: Action, ticket: Ticket, places: dict[str, str]
) -> httpx2.Response:
    """Send what a form of another page can: no header of its own, no field that it cannot know."""
    bare = action.model_copy(update={"page": None, "headers": {}})
    headers = {"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site", "Referer": f"{FOREIGN}/"}
    if action.body is not None:
        headers["Content-Type"] = "text/plain"  # a form can be made to look like JSON
    return visit.ask(bare, ticket, places, headers=headers)


def _ends_alike(one: httpx2.Response, other: httpx2.Response) -> bool:
    place = [each.headers.get("location") for each in (one, other)]
    return one.status_code == other.status_code and place[0] == place[1]


def _is_a_login(answer: httpx2.Response) -> bool:
    return "login" in answer.headers.get("location", "").lower()


@attack(
    "fixation",
    "a session that mallory planted is her victim's after the login",
    lesson="08",
    level="break-in",
    authority="ASVS 7.2.4",
)
def fixation(visit: Visit) -> Success | None:
    name = visit.about.use.cookie
    if not name:
        raise NotTried(NO_COOKIE)
    person = visit.alice().person
    before = [visit.get(path) for path in ("/", visit.about.me.path) if "{" not in path]
    if visit.about.login.page:
        before.append(visit.raw(*visit.about.login.page.split(" ", 1)))
    drawn = [find(each, f"cookie:{name}") for each in before]
    for planted in (*(each for each in drawn if each), secrets.token_urlsafe(32)):
        answer = visit.ask(visit.about.login, places=person.places, planted={name: planted})
        if answer.status_code >= 400:
            continue
        ticket = Ticket(person, planted, None, {}, answer)
        if visit.opens(ticket):
            return Success(f"the value that {name} had before the login opens after it")
    return None


@attack(
    "foreign-origin",
    "scripts of any page may read what somebody's browser gets",
    lesson="10",
    level="leak",
    authority="ASVS 3.4.2",
)
def foreign_origin(visit: Visit) -> Success | None:
    if not visit.about.use.cookie:
        raise NotTried(NO_COOKIE)
    ticket = visit.alice()
    for origin in (FOREIGN, "null"):
        answer = visit.me(ticket, headers={"Origin": origin})
        allowed = answer.headers.get("access-control-allow-origin")
        with_cookies = answer.headers.get("access-control-allow-credentials", "").lower() == "true"
        if good(answer) and allowed == origin and with_cookies:
            return Success(f"{visit.about.me.route} allows the origin {origin}, with cookies")
    return None
