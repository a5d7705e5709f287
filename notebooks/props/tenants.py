"""The shop's and mallory's rows of demo 13, who is let in where, and the picture of what leaks."""

import inspect
import sqlite3
import textwrap
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException

from lessons.harness.people import bearer
from solutions import tenants
from stage import BAD, CALM, Visitor, plt, show_figure, visit

MALLORY = {"username": "mallory", "password": "mallory's own words"}
ROWS = [
    ("shop", "s1", "Buy the bakery"),
    ("shop", "s2", "Salaries: erin 3,100"),
    ("mallory", "m1", "Feed the cat"),
]
ASKED = {"list": "", "read": "/s1", "search": "?q=Sal", "count": "/count"}
RECORDING = """\
shop=> CREATE POLICY of_the_tenant ON items
shop->   USING (tenant = current_setting('app.tenant', true));
shop=> SELECT title FROM items;  -- nobody has said for whom
(0 rows)
shop=> BEGIN;
shop=> SELECT set_config('app.tenant', 'mallory', true);
shop=> SELECT title FROM items;  -- the filter is forgotten
 Feed the cat
(1 row)
shop=> UPDATE items SET tenant = 'shop';
ERROR:  new row violates row-level security policy for table "items"
shop=> ROLLBACK;
shop=> SELECT title FROM items;  -- the next request, on the same connection
(0 rows)"""


async def let_in(tenant: str, x_user: Annotated[str, Header()] = "") -> str:
    """Return the tenant of the path. Mallory is in her own, and alice in the shop."""
    if {"mallory": "mallory", "alice": "shop"}.get(x_user) != tenant:
        raise HTTPException(404, "No such tenant")
    return tenant


Inside = Annotated[str, Depends(let_in)]


def open_table() -> Callable[..., list[dict[str, Any]]]:
    """Return what runs a statement on a table that has items of the shop's and of mallory's."""
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.row_factory = sqlite3.Row
    database.execute("CREATE TABLE items (tenant, id, title)")
    database.executemany("INSERT INTO items VALUES (?, ?, ?)", ROWS)
    return lambda sql, **values: [dict(row) for row in database.execute(sql, values)]


def by_mallory(app: FastAPI) -> Visitor:
    """Return mallory, at an app that knows her by a header."""
    visitor = visit(app)
    visitor.http.headers["X-User"] = "mallory"
    return visitor


def leaks_of(app: FastAPI) -> dict[str, bool]:
    """Ask an app of this demo for everything, in mallory's tenant; say what shows the shop."""
    http = by_mallory(app).http
    told = {name: http.get(f"/tenants/mallory/items{url}").text for name, url in ASKED.items()}
    shown = {name: "shop" in text or "s1" in text for name, text in told.items()}
    return {**shown, "count": told["count"] != '[{"count(*)":1}]'}


def log_in(username: str, password: str) -> Visitor:
    """Return somebody at the finished app, who sends the token with every request."""
    visitor = visit(tenants.app)
    visitor.http.post("/register", json={"username": username, "password": password})
    form = {"username": username, "password": password}
    token = visitor.http.post("/token", data=form).json()["access_token"]
    visitor.http.headers.update(bearer(token))
    return visitor


def move_in(visitor: Visitor, name: str, *titles: str) -> tuple[str, list[str]]:
    """Make a tenant with items, and return its address and the ids."""
    url = "/tenants/" + visitor.http.post("/tenants", json={"name": name}).json()["id"]
    made = [visitor.http.post(f"{url}/items", json={"title": each}) for each in titles]
    return url, [each.json()["id"] for each in made]


def leaks_in(told: dict[str, Any], ids: list[str]) -> dict[str, bool]:
    """Say which answers of the finished app show something of the shop, whose ids these are."""
    shown = {
        name: any(word in told[name].text for word in ("Buy", "Salaries", *ids))
        for name in ASKED
        if name in told
    }
    return {**shown, "count": told["list"].json()["total"] != 1}


def show_door() -> None:
    """Print what the finished app asks at the door of a tenant."""
    body = inspect.getsource(tenants.at_least).split('"""')[4]
    print("# enter" + textwrap.dedent(body).removesuffix("return enter\n").rstrip())


def draw(**columns: dict[str, bool]) -> None:
    """Draw what each app shows of the shop, a column for each app."""
    figure, ax = plt.subplots(figsize=(9, 4))
    for x, leaks in enumerate(columns.values()):
        for y, name in enumerate(ASKED):
            colour, word = (BAD, "leaks") if leaks[name] else (CALM, "own rows")
            ax.add_patch(plt.Rectangle((x, y), 0.96, 0.92, color=colour))
            ax.text(x + 0.48, y + 0.46, word, ha="center", va="center")
    ax.set(xlim=(0, len(columns)), ylim=(len(ASKED), 0))
    ax.set_xticks(
        [x + 0.48 for x in range(len(columns))], [each.replace("_", " ") for each in columns]
    )
    ax.set_yticks([y + 0.46 for y in range(len(ASKED))], [*ASKED])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.xaxis.tick_top()
    show_figure(figure)
