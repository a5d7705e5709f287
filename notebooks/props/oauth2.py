"""How one request goes through the dependencies, for demo 04: watched, and drawn."""

import threading
from types import CodeType, FrameType
from typing import Any

import fastapi
from fastapi.security import OAuth2PasswordBearer
from httpx2 import Request

from lessons.harness.people import bearer
from solutions import oauth2
from solutions.stores.users import MemoryUserStore, UserInDB
from solutions.tokens import decode_token
from stage import BAD, GOOD, GREY, Visitor, plt, show_figure

STOPS: dict[CodeType, str] = {
    OAuth2PasswordBearer.__call__.__code__: "OAuth2Pass-\nwordBearer",
    oauth2.get_current_user.__code__: "get_current_\nuser",
    decode_token.__code__: "decode_\ntoken",
    MemoryUserStore.get.__code__: "the store",
    oauth2.get_current_active_user.__code__: "get_current_\nactive_user",
    oauth2.read_protected_resource.__code__: "the route",
}
LINES = ["client", *STOPS.values()]
Arrow = tuple[str, str, str]  # from, to, what is passed


def log_in(site: Visitor, name: str, password: str) -> dict[str, Any]:
    """Log in, and return the header that shows the token."""
    answer = site.http.post("/token", data={"username": name, "password": password})
    return bearer(answer.json()["access_token"])


def draw(site: Visitor, request: Request, title: str) -> None:
    """Send a request again, and draw who passes what to whom. Time runs down."""
    arrows = _trace(site, request)
    figure, ax = plt.subplots(layout="constrained")
    called = {stop for arrow in arrows for stop in arrow[:2]}
    bare = {"fc": "white", "ec": "none", "pad": 0.5}
    box = {"boxstyle": "round", "fc": "white", "ec": GREY}
    for x, name in enumerate(LINES):
        ax.plot([x, x], [0, 9.3], c=GREY, lw=1.5, ls="-" if name in called else ":")
        ax.text(x, -0.3, name, ha="center", va="center", size=13, bbox=box)
        if name not in called:
            ax.text(x, 5, "never\ncalled", c=BAD, ha="center", bbox=bare)
    for y, (start, end, what) in enumerate(arrows, 1):
        x, to = LINES.index(start), LINES.index(end)
        refused = end == "client" and not what.startswith("200")
        look = {"arrowstyle": "-|>", "lw": 2.5, "shrinkA": 0, "shrinkB": 0}
        look |= {"color": BAD if refused else GOOD, "ls": "-" if x < to else "--"}
        ax.text(min(x, to) + 0.12, y - 0.18, what, size=14, bbox=bare)
        ax.annotate("", (to, y), (x, y), arrowprops=look, zorder=4)
    ax.set(xlim=(-0.5, 6.5), ylim=(9.4, -1), title=title)
    ax.axis("off")
    show_figure(figure)


def _trace(site: Visitor, request: Request) -> list[Arrow]:
    """Return each call of the watched functions, and each answer. The app is not changed."""
    arrows: list[Arrow] = []
    raised: dict[str, str] = {}
    inside: list[str] = []  # called, and not returned yet
    here = "client"

    def watch(frame: FrameType, event: str, value: Any) -> Any:
        nonlocal here
        if (stop := STOPS.get(frame.f_code)) is None:
            return None
        if event == "call":
            given = [frame.f_locals[name] for name in frame.f_locals if name != "self"]
            arrows.append((here, stop, _say(given[0])))
            inside.append(stop)
            here = stop
        elif event == "exception" and value[0] is not StopIteration:
            raised[stop] = value[0].__name__
        elif event == "return" and inside.pop() and inside:
            arrows.append((stop, inside[-1], raised.get(stop) or _say(value)))
            here = inside[-1]
        return watch

    threading.settrace(watch)  # for the thread in which the app answers
    try:
        answer = site.http.send(request)
    finally:
        threading.settrace(None)
    said = next(iter(answer.json().values()))
    return [*arrows, (here, "client", f"{answer.status_code} {said}")]


def _say(value: object) -> str:
    """Put what is passed into a few words."""
    match value:
        case fastapi.Request():
            header = value.headers.get("Authorization")
            return f"{header[:10]}..." if header else "no token"
        case {"sub": name}:
            return f"sub: {name}"
        case UserInDB():
            return f"User {value.username}" + ", disabled" * value.disabled
        case str() if len(value) > 40:
            return f"token {value[:3]}..."
    return repr(value)
