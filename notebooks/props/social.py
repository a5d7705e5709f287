"""A provider and browsers for demo 09, in this process: nobody else can be reached."""

import logging

from fastapi import FastAPI
from matplotlib.figure import Figure

from lessons.harness.internet import internet_of
from lessons.harness.provider import HONEST, Lie, Provider
from lessons.harness.provider_page import LIES, PEOPLE
from stage import BAD, GOOD, Visitor, configure, plt, show_figure, visit

ISSUER, CLIENT, SECRET = "https://login.example", "workbook", "known-to-the-class"
CALLBACK = "http://localhost:8000/callback/oidc"
provider = Provider(ISSUER, CLIENT, SECRET)
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # refusals are in the picture
internet = internet_of(provider)
internet.__enter__()  # for as long as the demo runs


def begin() -> None:
    """Start afresh, with this provider."""
    configure(OIDC_ISSUER=ISSUER, OIDC_CLIENT_ID=CLIENT, OIDC_CLIENT_SECRET=SECRET)


class Browser:
    """A browser with an app, and with its own cookies."""

    def __init__(self, app: FastAPI) -> None:
        self._visitor: Visitor = visit(app)
        self._visitor.http.base_url = "https://localhost:8000"

    def answer(self, name: str, lie: Lie = HONEST) -> str:
        """Log in at the provider as somebody; return the address to come back to."""
        begun = self._visitor.http.get("/login/oidc", follow_redirects=False)
        person = PEOPLE[name] | {"sub": f"demo-{name}", "email_verified": True}
        return provider.answer(begun.headers["location"], person, lie)

    def come_back(self, address: str) -> int:
        """Bring an answer of the provider's; return the status."""
        path = address.removeprefix("http://localhost:8000")
        return int(self._visitor.http.get(path, follow_redirects=False).status_code)

    def log_in(self, name: str, lie: Lie = HONEST) -> int:
        """Go there and back; return the status."""
        return self.come_back(self.answer(name, lie))

    def who(self) -> str:
        """Return as whom the app knows this browser."""
        answer = self._visitor.http.get("/session")
        return str(answer.json()["username"]) if answer.status_code == 200 else "nobody"


def draw_lies(**apps: FastAPI) -> None:
    """Let the provider lie about each thing, to each app, and show who is let in."""
    seen = {}
    for what, lie in LIES.items():
        for name, app in apps.items():
            browser = Browser(app)
            browser.log_in("alice", lie)
            seen[what, name] = browser.who() != "nobody"
    show_figure(_grid(seen, list(apps)))


def _grid(seen: dict[tuple[str, str], bool], apps: list[str]) -> Figure:
    figure, axes = plt.subplots(figsize=(9, 5))
    for row, what in enumerate(LIES):
        for column, app in enumerate(apps):
            is_in = seen[what, app]
            axes.text(
                column,
                row,
                "is in" if is_in else "refused",
                ha="center",
                va="center",
                color="white",
                fontsize=12,
                bbox={
                    "boxstyle": "round,pad=0.3",
                    "color": BAD if is_in and LIES[what] != HONEST else GOOD,
                },
            )
    axes.set_xticks(range(len(apps)), apps)
    axes.set_yticks(range(len(LIES)), list(LIES), fontsize=12)
    axes.set_xlim(-0.5, len(apps) - 0.5)
    axes.set_ylim(len(LIES) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    for side in axes.spines.values():
        side.set_visible(False)
    return figure
