"""Browsers for demo 08: each keeps its cookie, and says from which page a request comes."""

import base64
import re

from fastapi import FastAPI
from matplotlib.figure import Figure

from lessons.harness.people import PASSWORDS
from stage import GOOD, GREY, Visitor, plt, show_figure, visit

OURS = "http://localhost:8000"
PLACES = {  # the headers that a browser sends along, and nobody's script can change
    "our own page": {"Sec-Fetch-Site": "same-origin", "Origin": OURS},
    "another port": {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:9000"},
    "another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://mallory.example"},
    "our page, old browser": {"Origin": OURS},
    "another site, old browser": {"Origin": "https://mallory.example"},
}
TOKENS = ("no token", "mallory's token", "the right token")


class Browser:
    """A browser with an app."""

    def __init__(self, app: FastAPI, cookie: str = "") -> None:
        self._visitor: Visitor = visit(app)
        self.cookie = cookie

    @property
    def token(self) -> str:
        """The token in the form of our page; empty where forms have none."""
        page = self._visitor.http.get("/login", headers=self._headers("our own page"))
        self._keep(page)
        found = re.search(r'csrf_token" value="([^"]+)"', page.text)
        return found[1] if found else ""

    def log_in(self, name: str) -> None:
        """Log in on our page."""
        form = {"username": name, "password": PASSWORDS[name]}
        answer = self.send("/login", token=self.token, **form)
        assert answer in (200, 303), f"{name} cannot log in: {answer}"

    def send(self, url: str, place: str = "our own page", token: str = "", **form: str) -> int:
        """Post a form that stands on a page somewhere; return the status."""
        fields = form | ({"csrf_token": token} if token else {})
        answer = self._visitor.http.post(
            url, data=fields, headers=self._headers(place), follow_redirects=False
        )
        self._keep(answer)
        return int(answer.status_code)

    def who(self) -> str:
        """Return as whom the app knows this browser."""
        answer = self._visitor.http.get("/session", headers=self._headers("our own page"))
        return str(answer.json()["username"]) if answer.status_code == 200 else "nobody"

    def _headers(self, place: str) -> dict[str, str]:
        self._visitor.http.cookies.clear()
        return PLACES[place] | ({"Cookie": self.cookie} if self.cookie else {})

    def _keep(self, answer) -> None:
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]


def read_cookie(browser: Browser) -> str:
    """Return what anybody reads in a cookie: its base64 in clear, or the text itself."""
    value = browser.cookie.partition("=")[2]
    try:
        return base64.b64decode(value.partition(".")[0], validate=True).decode("ascii")
    except ValueError:
        return value


def draw_walls(app: FastAPI) -> None:
    """Send a form from everywhere with every token, and show which of them did something."""
    alice, mallory = Browser(app), Browser(app)
    alice.log_in("alice")
    mallory.log_in("johndoe")
    tokens = dict(zip(TOKENS, ("", mallory.token, alice.token), strict=True))
    seen = [
        [alice.send("/sessions/end-others", place, token) for token in tokens.values()]
        for place in PLACES
    ]
    show_figure(_grid(seen))


def _grid(seen: list[list[int]]) -> Figure:
    figure, axes = plt.subplots(figsize=(10, 4.2))
    for row, statuses in enumerate(seen):
        for column, status in enumerate(statuses):
            done = status < 300
            axes.text(
                column,
                row,
                f"{status} done" if done else f"{status}",
                ha="center",
                va="center",
                weight="bold" if done else "normal",
                color="white",
                bbox={"boxstyle": "round,pad=0.5", "color": GOOD if done else GREY},
            )
    axes.set_xticks(range(len(TOKENS)), TOKENS)
    axes.set_yticks(range(len(PLACES)), list(PLACES))
    axes.set_xlim(-0.5, len(TOKENS) - 0.5)
    axes.set_ylim(len(PLACES) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    for side in axes.spines.values():
        side.set_visible(False)
    return figure
