"""Alice's week for demo 05: a moved clock, who sends what, and the family tree."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import jwt
import time_machine
from fastapi import FastAPI, Form, HTTPException
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lessons.harness.people import bearer
from solutions import oauth2
from solutions.login import authenticate_user
from solutions.stores.refresh_tokens import open_refresh_store
from solutions.stores.users import open_user_store
from solutions.support.digests import digest_of
from solutions.tokens import create_access_token
from stage import BAD, GOOD, GREY, Visitor, finish, plt

MONDAY = datetime(2030, 1, 7, tzinfo=UTC)
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
Text = Annotated[str, Form()]
ALICE = {"username": "alice", "password": "secretalice"}


def open_service(key: str) -> FastAPI:
    """Return an app with lesson 04's routes, whose login hands out a signed refresh token."""
    app = FastAPI()
    app.include_router(oauth2.router)

    @app.post("/token")
    async def login(username: Text, password: Text) -> dict[str, str]:
        if not await authenticate_user(open_user_store(), username, password):
            raise HTTPException(401, "Incorrect username or password")
        claims = {"sub": username, "exp": datetime.now(UTC) + timedelta(days=7)}
        ticket = jwt.encode(claims, key, "HS256")
        return {"access_token": await access_for(username), "refresh_token": ticket}

    return app


async def access_for(username: str) -> str:
    """Return an access token, good for thirty minutes."""
    user = await open_user_store().get(username)
    return create_access_token({"sub": user.username, "stamp": user.security_stamp})


def move_to(when: str) -> time_machine.travel:
    """Move the clock, to "Tue 14" for example."""
    day, hour = when.split()
    return time_machine.travel(MONDAY + timedelta(days=DAYS.index(day), hours=int(hour)))


@dataclass(frozen=True)
class Event:
    """One request of the week, and which tokens the app's own list has as alive afterwards."""

    when: float  # days since the beginning of Monday
    who: str
    did: str
    status: int
    sent: str  # the refresh token that went in, if one did
    got: str  # the refresh token that came back, if one did
    live: set[str]


@dataclass
class Week:
    """Plays a week: who does what when, and who holds which token."""

    visitor: Visitor
    refresh_at: str = "/token"
    logout_at: str = "/revoke"
    access: dict[str, str] = field(default_factory=dict)  # by holder
    copies: dict[str, str] = field(default_factory=dict)  # refresh tokens, by holder
    events: list[Event] = field(default_factory=list)

    def log_in(self, when: str, who: str) -> int:
        return self._send(when, who, "logs in", "/token", "", ALICE)

    def refresh(self, when: str, who: str) -> int:
        sent = self.copies[who]
        form = {"grant_type": "refresh_token", "refresh_token": sent}
        return self._send(when, who, "refreshes", self.refresh_at, sent, form)

    def log_out(self, when: str, who: str) -> int:
        sent = self.copies[who]
        return self._send(when, who, "logs out", self.logout_at, sent, {"token": sent})

    def copy(self, when: str, who: str, of: str) -> None:
        """Let somebody copy the refresh token of another holder."""
        self.copies[who] = self.copies[of]
        print(f"{when}:00  {who:8} copies the {of}'s refresh token")

    def is_let_in_as(self, when: str, who: str) -> str:
        """Return the name under which a holder gets in, or "nobody"."""
        with move_to(when):
            answer = self.visitor.http.get("/users/me", headers=bearer(self.access[who]))
        name = answer.json().get("username", "nobody")
        print(f"{when}:00  {who:8} is let in as {name}")
        return name

    def _send(self, when: str, who: str, did: str, at: str, sent: str, form: dict[str, str]) -> int:
        with move_to(when):
            answer = self.visitor.http.post(at, data=form)
            body = answer.json() if answer.content else {}
            got = body.get("refresh_token", "")
            known = {each.got for each in self.events} | {got}
            live = {token for token in known if token and _is_live(token)}
            day = (datetime.now(UTC) - MONDAY) / timedelta(days=1)
        if "access_token" in body:
            self.access[who] = body["access_token"]
        if got:
            self.copies[who] = got
        new = " + ".join(key for key in body if key.endswith("_token"))
        says = f"{when}:00  {who:8} {did:10} {answer.status_code}  {body.get('error', new)}"
        print(says.rstrip())
        self.events.append(Event(day, who, did, answer.status_code, sent, got, live))
        return answer.status_code


def _is_live(token: str) -> bool:
    found = finish(open_refresh_store().find(digest_of(token)))
    return found is not None and not found.spent


# --- the picture ----------------------------------------------------------------------------

Row = tuple[int, str]  # number of the family, who holds the tokens
Place = tuple[float, int]  # day, number of the row


def colour_of(holder: str) -> str:
    """Return the colour of somebody's tokens and requests: mallory has one of her own."""
    return BAD if holder == "mallory" else GOOD


def draw(events: list[Event], title: str) -> Figure:
    """Draw the families: a row for each login or copy, a mark for each token."""
    rows, places = _grow(events)
    figure, ax = plt.subplots(figsize=(10, 1.3 + 0.85 * len(rows)))
    _draw_requests(ax, events, rows, places)
    _draw_tokens(ax, events, rows, places)
    family_of = {token: rows[y][0] for token, (_, y) in places.items()}
    alive = {family_of[token] for token in events[-1].live}
    left = {family_of[each.sent] for each in events if each.did == "logs out"}
    names = []
    for y, (family, who) in enumerate(rows):
        ax.axhspan(y - 0.5, y + 0.5, color=GREY, alpha=0.16 * (family % 2), lw=0)
        copied = y > 0 and rows[y - 1][0] == family
        again = who in [other for _, other in rows[:y]]
        names.append(who + "\n(copy)" * copied + "\n(new login)" * again)
        if not copied:
            fate = "lives" if family in alive else "logged out" if family in left else "is dead"
            ax.text(6.5, y, f"family {family}\n{fate}", va="center")
    ax.set(xticks=[day + 0.5 for day in range(6)], xticklabels=DAYS)
    ax.set(yticks=range(len(rows)), yticklabels=names)
    ax.set(xlim=(-0.45, 6.35), ylim=(len(rows) - 0.5, -0.5))
    ax.set_title(f"{title}\nfilled: live   hollow: spent   cross: dead", fontsize=16)
    return figure


def _grow(events: list[Event]) -> tuple[list[Row], dict[str, Place]]:
    """Return the rows, and the place of each token."""
    rows: list[Row] = []
    places: dict[str, Place] = {}
    for event in [each for each in events if each.got]:
        if event.sent:
            family = rows[places[event.sent][1]][0]
        else:
            family = len({number for number, _ in rows}) + 1  # a login
        if (family, event.who) not in rows:
            rows.append((family, event.who))
        places[event.got] = event.when, rows.index((family, event.who))
    return rows, places


def _draw_requests(
    ax: Axes, events: list[Event], rows: list[Row], places: dict[str, Place]
) -> None:
    """Draw a line for each request, and the alarm with what it killed."""
    before: set[str] = set()
    for event in [each for each in events if each.sent]:
        x, y = event.when, places[event.got or event.sent][1]
        killed, before = before - event.live - {event.sent}, event.live
        start_x, start_y = places[event.sent]
        style = ":" if event.status != 200 else "-"
        line = ax.plot([start_x, x], [start_y, y], style, color=colour_of(event.who), zorder=1)
        line[0].set_gid(event.who)
        if not killed:
            continue
        ax.plot(x, y, "*", color="black", ms=20)
        where = {"textcoords": "offset points", "ha": "center"}
        ax.annotate("second use: ALARM", (x, y), (0, 14), **where)
        for token in killed:
            arrow = {"arrowstyle": "-|>", "color": "black", "lw": 2.5}
            ax.annotate("", places[token], (x, y), arrowprops=arrow)


def _draw_tokens(ax: Axes, events: list[Event], rows: list[Row], places: dict[str, Place]) -> None:
    """Draw a mark for each token, in its holder's colour. Whether it lives, the app's list said."""
    spent = {each.sent for each in events if each.got}
    for token, (x, y) in places.items():
        holder = rows[y][1]
        colour = colour_of(holder)
        live = token in events[-1].live
        mark = "o" if live or token in spent else "X"
        fill = colour if live or mark == "X" else "white"
        drawn = ax.plot(x, y, mark, color=colour, ms=15, mec=colour, mfc=fill, mew=3)
        drawn[0].set_gid(holder)
