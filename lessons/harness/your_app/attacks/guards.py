"""Lesson 04: who gets past the guard of a route."""

import secrets
from dataclasses import replace

from lessons.harness.your_app.attacks import attack
from lessons.harness.your_app.findings import NotTried, Success
from lessons.harness.your_app.routes import looks_public, plain_gets
from lessons.harness.your_app.site import Person, Ticket, Visit, good, said


@attack(
    "no-guard",
    "a route asks for nothing",
    lesson="04",
    level="break-in",
    authority="CWE-306",
)
def no_guard(visit: Visit) -> Success | None:
    ticket = visit.log_in(visit.somebody())
    answer = visit.me(ticket)
    if not good(answer):
        raise NotTried(f"{visit.about.me.route} does not let its user in: {said(answer)}")
    outside = visit.outside()
    open_routes = []
    if good(outside) and outside.content == answer.content:
        open_routes.append(visit.about.me.route)
    places = visit.new_person().places | {"id": "0"}
    for action in visit.about.admin:
        if good(visit.ask(action, places=places)):
            open_routes.append(action.route)
    known = {visit.about.me.route, *visit.about.policy.public}
    known |= {each.route for each in visit.about.admin}
    for path in plain_gets(visit.site.document):
        route = f"GET {path}"
        if route not in known and not looks_public(path) and good(visit.get(path)):
            open_routes.append(route)
    if not open_routes:
        return None
    return Success(
        f"{', '.join(open_routes)} answers everybody; what is meant to goes into policy.public"
    )


@attack(
    "token-in-address",
    "a token is taken from the address, and stays in logs",
    lesson="04",
    level="leak",
    authority="ASVS 14.2.1",
)
def token_in_address(visit: Visit) -> Success | None:
    ticket = visit.alice()
    place, _, path = visit.about.me.route.partition(" ")
    for name in ("access_token", "token", "jwt", "auth", "api_key", "key", "session"):
        answer = visit.raw(place, path, params={name: ticket.token})
        outside = visit.outside()
        if good(answer) and not (good(outside) and outside.content == answer.content):
            return Success(f"{visit.about.me.route}?{name}=... lets in")
    return None


@attack(
    "deleted-user",
    "who was deleted stays in",
    lesson="04",
    level="break-in",
    authority="ASVS 7.4.2",
)
def deleted_user(visit: Visit) -> Success | None:
    if visit.about.delete is None and visit.site.hooks.remove is None:
        raise NotTried("nothing says how to delete an account: describe [delete], or a hook remove")
    person = visit.make_somebody()
    ticket = visit.let_in(visit.log_in(person))
    doors = visit.guarded()
    if visit.site.hooks.remove is not None:
        visit.hook("remove", visit.login_name(person))
    else:
        assert visit.about.delete
        answer = visit.ask(visit.about.delete, ticket)
        if answer.status_code >= 400:
            raise NotTried(f"{visit.about.delete.route} deletes nobody: {said(answer)}")
    if visit.ticket(person, visit.try_login(person)):
        raise NotTried("after the deletion its user can still log in: nothing was deleted")
    return _still_in(visit, ticket, doors)


@attack(
    "disabled-user",
    "who was disabled stays in",
    lesson="04",
    level="break-in",
    authority="ASVS 7.4.2",
)
def disabled_user(visit: Visit) -> Success | None:
    if visit.site.hooks.disable is None:
        raise NotTried("nothing says how to disable an account: write a hook disable")
    person = visit.make_somebody()
    ticket = visit.let_in(visit.log_in(person))
    doors = visit.guarded()
    visit.hook("disable", visit.login_name(person))
    return _still_in(visit, ticket, doors)


def _still_in(visit: Visit, ticket: Ticket, doors: list[str]) -> Success | None:
    crash = None
    if visit.opens(ticket):
        return Success(f"{visit.about.me.route} still lets the old token in")
    for path in doors:
        answer = visit.get(path, ticket)
        if good(answer):
            return Success(f"GET {path} still lets the old token in")
        if answer.status_code >= 500:
            crash = crash or Success(f"GET {path} answers a {said(answer)}", "leak")
    answer = visit.me(ticket)
    if answer.status_code >= 500:
        crash = crash or Success(f"{visit.about.me.route} answers a {said(answer)}", "leak")
    return crash


def new_password(visit: Visit, ticket: Ticket) -> Person:
    """Change a person's password, see that it counts, and return the person with it."""
    if visit.about.password is None:
        raise NotTried("nothing says how a password is changed: describe [password]")
    person = ticket.person
    changed = replace(person, password=f"Tr0mbone-{secrets.token_hex(8)}")
    answer = visit.ask(visit.about.password, ticket, {"new_password": changed.password})
    if answer.status_code >= 400:
        raise NotTried(f"{visit.about.password.route} changes nothing: {said(answer)}")
    visit.log_in(changed)
    return changed


@attack(
    "access-after-new-password",
    "a thief's access token outlives the new password",
    lesson="04",
    level="hardening",
    authority="ASVS 7.4.3",
)
def access_after_new_password(visit: Visit) -> Success | None:
    if visit.about.password is None:
        raise NotTried("nothing says how a password is changed: describe [password]")
    person = visit.make_somebody()
    stolen, ticket = visit.let_in(visit.log_in(person)), visit.log_in(person)
    new_password(visit, ticket)
    return Success("an earlier login's token still opens") if visit.opens(stolen) else None
