"""The service of demo 06, who calls it, and the picture of where two apps differ."""

from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from lessons.harness.people import bearer
from solutions import hashing, oauth2, refresh
from solutions.oauth2 import CurrentUser
from solutions.stores.users import Users, open_user_store
from solutions.support.apps import create_app
from solutions.tokens import create_access_token
from stage import BAD, CALM, Visitor, configure, plt, show_figure, visit

MALLORY = {"username": "mallory", "password": "mallory's own words"}
CALLERS = {  # title of the column: who calls, and with which password
    "no login": ("", "a guess"),
    "user": ("mallory", MALLORY["password"]),
    "admin": ("alice", "secretalice"),
    "superadmin": ("carol", "secretcarol"),
    "disabled": ("bob", "secretbob"),
}
MEANS = {
    "GET /users/{other}/items": "read somebody\nelse's items",
    "PATCH /admin/users/{own}": "make oneself\nsuperadmin",
}
Table = dict[tuple[str, str], int]  # (route, title of the column): status


class Profile(BaseModel):
    """What the profile page and the admins' page send."""

    full_name: str | None = None
    role: str | None = None


def open_service() -> FastAPI:
    """Return the logins of lessons 01 to 05, and a list of the accounts for admins."""
    app = create_app("Naive", hashing.router, oauth2.router, oauth2.demo_router, refresh.router)

    @app.get("/admin/users")
    async def roles(me: CurrentUser, users: Users) -> dict[str, str]:
        if "admin" not in me.role:
            raise HTTPException(403, "Admins only")
        return {each.username: each.role for each in await users.everyone()}

    return app


def log_in(app: FastAPI, username: str, password: str) -> Visitor:
    """Return a visitor who sends the token with every request."""
    visitor = visit(app)
    form = {"username": username, "password": password}
    token = visitor.http.post("/token", data=form).json()["access_token"]
    visitor.http.headers.update(bearer(token))
    return visitor


async def ask_everything(app: FastAPI) -> Table:
    """Send every request that the app describes, as every kind of caller, to a fresh service.

    A route with a name in its address is asked twice: with the caller's own name, and with
    johndoe's.
    """
    paths = visit(app).http.get("/openapi.json").json()["paths"]
    rows = [
        f"{method.upper()} {path.replace('username', whose)}"
        for path, methods in paths.items()
        for method in methods
        for whose in ("own", "other")
        if "{username}" in path or whose == "own"
    ]
    return {
        (row, title): await _ask(app, row, *caller)
        for row in rows
        for title, caller in CALLERS.items()
    }


async def _ask(app: FastAPI, row: str, name: str, password: str) -> int:
    configure()
    http = visit(app).http
    http.post("/register", json=MALLORY)
    method, path = row.replace("{other}", "johndoe").split()
    headers = {}
    if person := await open_user_store().get(name):
        # A token as the login makes it. Bob got his before he was disabled.
        claims = {"sub": name, "stamp": person.security_stamp, "scope": "me items"}
        headers = bearer(create_access_token(claims))
    url = path.replace("{own}", name or "alice")
    return http.request(method, url, headers=headers, **_body(row, name, password)).status_code


def _body(row: str, name: str, password: str) -> dict[str, Any]:
    """Return what goes with a request, as httpx takes it."""
    new = "a longer password"
    bodies: dict[str, dict[str, Any]] = {
        "POST /register": {"json": {"username": "newcomer", "password": new}},
        "POST /token": {"data": {"username": name or "johndoe", "password": password}},
        "POST /revoke": {"data": {"token": "of no use"}},
        "POST /users/me/password": {"json": {"current_password": password, "new_password": new}},
        "PATCH /admin/users/{own}": {"json": {"role": "superadmin"}},
        "PATCH /admin/users/{other}": {"json": {"role": "user"}},
    }
    return bodies.get(row, {})


def wrongly_let_in(naive: Table, repaired: Table) -> list[tuple[str, str]]:
    """Return where the naive app lets in, and the repaired one does not."""
    return [cell for cell in naive if naive[cell] < 300 <= repaired[cell]]


def draw(naive: Table, repaired: Table) -> None:
    """Draw the routes in which the naive app is wrong, a cell for each kind of caller."""
    wrong = wrongly_let_in(naive, repaired)
    rows = list(dict.fromkeys(row for row, _ in wrong))
    figure, ax = plt.subplots(figsize=(10, 1.6 + 1.1 * len(rows)))
    for y, row in enumerate(rows):
        for x, title in enumerate(CALLERS):
            bad, inside = (row, title) in wrong, naive[row, title] < 300
            colour = BAD if bad else CALM if inside else "#F2F2F2"
            style = {"facecolor": colour, "edgecolor": "white", "linewidth": 4}
            ax.add_patch(plt.Rectangle((x, y), 1, 1, hatch="///" if bad else "", **style))
            says = "gets in" if bad else "may" if inside else "refused"
            ink = {"color": "white", "weight": "bold"} if bad else {"color": "#303030"}
            under = {"facecolor": colour, "edgecolor": "none", "pad": 3}
            ax.text(x + 0.5, y + 0.5, says, ha="center", va="center", bbox=under, **ink)
    ax.set(xlim=(0, len(CALLERS)), ylim=(len(rows), 0))
    ax.set_xticks([x + 0.5 for x in range(len(CALLERS))], CALLERS)
    ax.set_yticks([y + 0.5 for y in range(len(rows))], [MEANS.get(row, row) for row in rows])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(f"{len(wrong)} of {len(naive)} answers are wrong. Mallory needs one.", pad=14)
    show_figure(figure)
