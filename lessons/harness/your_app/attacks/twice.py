"""Lesson 05: what ends a session, and what goes on after it."""

from lessons.harness.your_app.attacks import attack
from lessons.harness.your_app.attacks.guards import new_password
from lessons.harness.your_app.findings import NotTried, Success
from lessons.harness.your_app.site import Ticket, Visit, good, said

AT_ONCE = 8


def _with_refresh(visit: Visit, ticket: Ticket | None = None) -> tuple[Ticket, str]:
    """Return somebody who has a refresh token, and the token."""
    if visit.about.refresh is None:
        raise NotTried("no [refresh] is described")
    ticket = ticket or visit.alice(fresh=True)
    if ticket.refresh:
        return ticket, ticket.refresh
    # Some logins lose it, and give one to whoever asks with an access token.
    renewed = visit.renewed(ticket, visit.renew(ticket, ticket.token))
    if renewed and renewed.refresh:
        return renewed, renewed.refresh
    raise NotTried(f"the answer to the login has no refresh token at {visit.about.refresh.source}")


def _spend(visit: Visit, ticket: Ticket, refresh: str) -> Ticket:
    """Spend a good refresh token. Raises NotTried where it is worth nothing."""
    assert visit.about.refresh
    answer = visit.renew(ticket, refresh)
    if answer.status_code == 429 and visit.wait_for(answer):
        answer = visit.renew(ticket, refresh)
    renewed = visit.renewed(ticket, answer)
    if renewed is None:
        raise NotTried(f"{visit.about.refresh.route} takes no good refresh token: {said(answer)}")
    return renewed


@attack(
    "refresh-as-access",
    "a refresh token opens pages",
    lesson="05",
    level="break-in",
    authority="ASVS 9.2.2",
)
def refresh_as_access(visit: Visit) -> Success | None:
    ticket, refresh = _with_refresh(visit)
    if refresh == ticket.token:
        raise NotTried("its refresh token is its access token: one token does both")
    as_access = visit.with_token(ticket, refresh)
    if visit.opens(as_access):
        return Success(f"{visit.about.me.route} takes it for an access token")
    for path in visit.guarded():
        if good(visit.get(path, as_access)):
            return Success(f"GET {path} takes it for an access token")
    return None


@attack(
    "access-as-refresh",
    "an access token is as good as a refresh token, and so never ends",
    lesson="05",
    level="break-in",
    authority="ASVS 9.2.2",
)
def access_as_refresh(visit: Visit) -> Success | None:
    ticket = visit.alice(fresh=True)
    if visit.about.refresh is None:
        raise NotTried("no [refresh] is described")
    if visit.about.refresh.source == visit.about.login.token:
        raise NotTried("its refresh token is its access token: one token does both")
    if ticket.refresh:
        _spend(visit, ticket, ticket.refresh)
    ticket = visit.log_in(ticket.person)
    renewed = visit.renewed(ticket, visit.renew(ticket, ticket.token))
    if renewed and visit.opens(renewed):
        return Success(f"{visit.about.refresh.route} takes it, and gives a new one")
    return None


@attack(
    "refresh-twice",
    "a spent refresh token works again",
    lesson="05",
    level="break-in",
    authority="ASVS 10.4.5",
)
def refresh_twice(visit: Visit) -> Success | None:
    ticket, refresh = _with_refresh(visit)
    newer = _spend(visit, ticket, refresh)
    again = visit.renewed(ticket, visit.renew(ticket, refresh))
    if not again or not visit.opens(again):
        return None
    if newer.refresh in (None, refresh):
        return Success("its refresh tokens never change, so nobody sees a theft", "hardening")
    return Success("two sessions from one refresh token")


@attack(
    "stolen-session-goes-on",
    "a spent refresh token comes back, and the thief's session goes on",
    lesson="05",
    level="break-in",
    authority="RFC 9700 4.14.2",
)
def stolen_session_goes_on(visit: Visit) -> Success | None:
    ticket, refresh = _with_refresh(visit)
    stolen = _spend(visit, ticket, refresh)
    if not stolen.refresh or stolen.refresh == refresh:
        raise NotTried("its refresh tokens do not change, see refresh-twice")
    if visit.renewed(ticket, visit.renew(ticket, refresh)):
        raise NotTried("a spent refresh token works again, see refresh-twice")
    newest = visit.renewed(stolen, visit.renew(stolen, stolen.refresh))
    if newest and visit.opens(newest):
        return Success("the newer refresh token still works")
    return None


@attack(
    "logout-keeps-refresh",
    "the refresh token works after the logout",
    lesson="05",
    level="break-in",
    authority="ASVS 7.4.1",
)
def logout_keeps_refresh(visit: Visit) -> Success | None:
    if visit.about.logout is None:
        raise NotTried("no [logout] is described")
    ticket, refresh = _with_refresh(visit)
    newer = _spend(visit, ticket, refresh)
    if newer.refresh is None:
        newer = visit.log_in(ticket.person)
    _log_out(visit, newer)
    again = visit.renewed(newer, visit.renew(newer, newer.refresh or refresh))
    return Success("it still gives new tokens") if again and visit.opens(again) else None


@attack(
    "token-after-logout",
    "a copy of the token works after the logout",
    lesson="05",
    level="break-in",
    authority="ASVS 7.4.1",
)
def token_after_logout(visit: Visit) -> Success | None:
    if visit.about.logout is None:
        raise NotTried("no [logout] is described")
    ticket = visit.alice(fresh=True)
    _log_out(visit, ticket)
    if not visit.opens(ticket):
        return None
    if visit.about.use.cookie:
        return Success("the logout only takes the browser's cookie; a copy of it still opens")
    return Success("a stateless logout: the access token lives to its end", "hardening")


def _log_out(visit: Visit, ticket: Ticket) -> None:
    assert visit.about.logout
    answer = visit.ask(visit.about.logout, ticket)
    if answer.status_code >= 400:
        raise NotTried(f"{visit.about.logout.route} logs nobody out: {said(answer)}")


@attack(
    "refresh-after-new-password",
    "a thief's refresh token outlives the new password",
    lesson="05",
    level="break-in",
    authority="ASVS 7.4.3",
)
def refresh_after_new_password(visit: Visit) -> Success | None:
    if visit.about.password is None:
        raise NotTried("nothing says how a password is changed: describe [password]")
    if visit.about.refresh is None:
        raise NotTried("no [refresh] is described")
    person = visit.make_somebody()
    stolen, refresh = _with_refresh(visit, visit.let_in(visit.log_in(person)))
    newer = _spend(visit, stolen, refresh)  # so it is worth something
    if newer.refresh is None:
        newer = stolen
    new_password(visit, visit.log_in(person))
    again = visit.renewed(newer, visit.renew(newer, newer.refresh or refresh))
    return Success("it still gives new tokens") if again and visit.opens(again) else None


@attack(
    "refresh-race",
    "one refresh token, sent eight times at once, becomes several sessions",
    lesson="05",
    level="break-in",
    authority="ASVS 15.4.2",
    storms=True,
)
def refresh_race(visit: Visit) -> Success | None:
    ticket, refresh = _with_refresh(visit)
    _spend(visit, ticket, refresh)
    if visit.renewed(ticket, visit.renew(ticket, refresh)):
        raise NotTried("a spent refresh token works again, see refresh-twice")
    ticket, refresh = _with_refresh(visit)
    assert visit.about.refresh
    one = visit.spending(ticket, refresh)
    answers = visit.together([(one[0], one[1], dict(one[2])) for _ in range(AT_ONCE)])
    winners = sum(visit.renewed(ticket, each) is not None for each in answers)
    if winners == 0:
        raise NotTried("none of eight at once is served")
    return Success(f"{winners} of {AT_ONCE} got new tokens") if winners > 1 else None
