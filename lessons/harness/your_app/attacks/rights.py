"""Lesson 06: what a plain account can do that it should not."""

from typing import Any

from lessons.harness.client import body_of
from lessons.harness.your_app.attacks import attack
from lessons.harness.your_app.description import Thing
from lessons.harness.your_app.findings import NotTried, Success
from lessons.harness.your_app.site import Ticket, Visit, find, good, said

WISHES: dict[str, Any] = {
    "role": "admin",
    "roles": ["admin"],
    "is_admin": True,
    "is_superuser": True,
    "is_staff": True,
    "admin": True,
    "superuser": True,
    "isAdmin": True,
    "scopes": ["admin"],
    "permissions": ["admin"],
}
SAID = ({"X-Role": "admin"}, {"X-User-Role": "admin", "X-Admin": "true"})
NO_RIGHTS = "nothing shows a right: [me] has none of the fields, and no [[admin]] is described"


@attack(
    "admin-as-user",
    "a plain account does what only administrators may",
    lesson="06",
    level="break-in",
    authority="ASVS 8.3.1",
)
def admin_as_user(visit: Visit) -> Success | None:
    if not visit.about.admin:
        raise NotTried("no [[admin]] is described: name what only administrators may do")
    # Not the first: some apps make an administrator of whoever comes first.
    ticket = visit.log_in(visit.somebody(1 if visit.site.can_make_people else 0))
    places = visit.new_person().places | {"id": "0"}
    chief = visit.administrator()
    if chief and not any(good(visit.ask(each, chief, places)) for each in visit.about.admin):
        visit.note("an administrator gets into none of these either")
    for action in visit.about.admin:
        for headers in ({}, *SAID):
            answer = visit.ask(action, ticket, places, headers=headers)
            if good(answer):
                told = f" when it says {next(iter(headers))}: admin" if headers else ""
                return Success(f"{action.route} lets a plain account in{told}")
    return None


@attack(
    "promotion-at-register",
    "who registers can make an administrator of oneself",
    lesson="06",
    level="break-in",
    authority="ASVS 15.3.3",
)
def promotion_at_register(visit: Visit) -> Success | None:
    if visit.about.register_ is None:
        raise NotTried("no [register] is described")
    plain = visit.log_in(visit.make_somebody())
    before = _rights(visit, plain)
    refusals, together = [], ""
    for wishes in (WISHES, *({name: WISHES[name]} for name in WISHES)):
        person = visit.new_person()
        answer = visit.register(person, **wishes)
        if answer.status_code >= 400:
            refusals.append(answer)  # one field that it knows and refuses may hide another
            continue
        visit.site.made.append(person.username)
        if visit.site.hooks.activate is not None:
            visit.hook("activate", visit.login_name(person))
        if got := _gained(before, _rights(visit, visit.log_in(person)), wishes):
            together = f"{visit.about.register_.route} with {got}"
            if len(wishes) == 1:
                return Success(together)
        elif wishes is WISHES:
            break  # all were taken, and none counted
    if together:
        return Success(together)
    if len(refusals) == len(WISHES) + 1:
        return None
    if not _can_tell(before):
        raise NotTried(NO_RIGHTS)
    return None


@attack(
    "promotion-by-patch",
    "who edits the own account can make an administrator of oneself",
    lesson="06",
    level="break-in",
    authority="ASVS 8.2.3",
)
def promotion_by_patch(visit: Visit) -> Success | None:
    if visit.about.patch is None:
        raise NotTried("no [patch] is described")
    ticket = visit.log_in(visit.make_somebody())
    answer = visit.ask(visit.about.patch, ticket)
    if answer.status_code >= 400:
        raise NotTried(f"{visit.about.patch.route} changes nothing: {said(answer)}")
    before = _rights(visit, ticket)
    taken = False
    for wishes in (WISHES, *({name: WISHES[name]} for name in WISHES)):
        answer = visit.ask(visit.about.patch, ticket, more=wishes)
        if answer.status_code >= 400:
            continue
        taken = True
        if got := _gained(before, _rights(visit, visit.log_in(ticket.person)), wishes):
            # What was gained stays, so the others cannot be told apart any more.
            return Success(f"{visit.about.patch.route} with {got}")
        if wishes is WISHES:
            break
    if taken and not _can_tell(before):
        raise NotTried(NO_RIGHTS)
    return None


def _rights(visit: Visit, ticket: Ticket) -> dict[str, Any]:
    """Return what shows somebody's rights: the fields of [me], the token's, and open doors."""
    seen: dict[str, Any] = {}
    parts = [body_of(visit.me(ticket))]
    if visit.is_jwt(ticket.token):
        parts.append(visit.claims(ticket.token)[1])
    for part in parts:
        for holder in [part, *(part.values() if isinstance(part, dict) else ())]:
            if isinstance(holder, dict):
                seen |= {name: holder[name] for name in WISHES if name in holder}
    places = visit.new_person().places | {"id": "0"}
    for action in visit.about.admin:
        seen[action.route] = good(visit.ask(action, ticket, places))
    return seen


def _gained(before: dict[str, Any], after: dict[str, Any], wishes: dict[str, Any]) -> str:
    for name, value in after.items():
        if before.get(name) == value:
            continue
        wanted = wishes.get(name)
        if name in wishes and (value == wanted or (isinstance(value, list) and "admin" in value)):
            return f"{name}: {value!r}"
        if name not in WISHES and value is True:  # a door
            return f"{', '.join(wishes)}: {name} opens"
    return ""


def _can_tell(rights: dict[str, Any]) -> bool:
    return bool(rights)


@attack(
    "others-things",
    "what belongs to one person is open to another",
    lesson="06",
    level="break-in",
    authority="ASVS 8.2.2",
)
def others_things(visit: Visit) -> Success | None:
    if not visit.about.thing:
        raise NotTried("no [[thing]] is described: name what belongs to one person")
    alice, bob = visit.log_in(visit.somebody()), visit.log_in(visit.somebody(1))
    for thing in visit.about.thing:
        if success := _touched(visit, thing, alice, bob):
            return success
    return None


def _touched(visit: Visit, thing: Thing, alice: Ticket, bob: Ticket) -> Success | None:
    made = visit.ask(thing.make, alice)
    number = find(made, thing.id)
    if made.status_code >= 400 or number is None or isinstance(number, (dict, list)):
        raise NotTried(f"{thing.make.route} makes nothing with {thing.id}: {said(made)}")
    places = {"id": number}
    reads = [each for each in thing.touch if each.method == "GET"]
    writes = [each for each in thing.touch if each.method != "GET"]
    for action in reads:
        seen = visit.ask(action, alice, places)
        if not good(seen):
            raise NotTried(f"{action.route} does not let its owner in: {said(seen)}")
        for who, ticket in (("another account", bob), ("nobody", None)):
            answer = visit.ask(action, ticket, places)
            if good(answer) and not thing.shared and not _is_empty(answer):
                return Success(f"{action.route} lets {who} in")
    for action in writes:
        for who, ticket in (("another account", bob), ("nobody", None)):
            if good(visit.ask(action, ticket, places)):
                return Success(f"{action.route} lets {who} in")
    for action in writes:  # the twin: its owner may
        answer = visit.ask(action, alice, places)
        if not good(answer):
            raise NotTried(f"{action.route} does not let its owner in: {said(answer)}")
    return None


def _is_empty(answer: Any) -> bool:
    return body_of(answer) in ([], {}, None, "")
