"""The real Mermaid, as JupyterLab brings it along, to draw the pictures that texts hold.

No package of Python's has it by itself, and nothing is fetched: JupyterLab shares its parts with
its extensions, under their names, and `@jupyterlab/mermaid` is one of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from playwright.sync_api import Page, Route

from tests.browser import open_page

ADDRESS = "http://lab.test"  # nobody's: the page is answered from here
EMPTY = f"""<!doctype html><script id="jupyter-config-data" type="application/json">
{{"fullStaticUrl": "{ADDRESS}", "federated_extensions": []}}</script>"""

# A part that needs nothing is handed the loader of all parts.
LOAD = """async () => {
    let parts;
    rspackChunk_jupyterlab_application_top.push([["workbook"], {}, loader => { parts = loader }]);
    await parts.I("default");
    const [shared] = Object.values(parts.S.default["@jupyterlab/mermaid"]);
    const { MermaidManager } = (await shared.get())();
    window.mermaid = await new MermaidManager().getMermaid();
}"""
DRAW = """async text => {
    try {
        await mermaid.parse(text);
        return { svg: (await mermaid.render("picture", text)).svg };
    } catch (error) {
        return { error: error.message };
    }
}"""


class CannotDraw(Exception):
    """Mermaid does not understand the text; the message is Mermaid's."""


class Mermaid:
    """The library in a page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def draw(self, text: str) -> str:
        """Return the picture as SVG. Raises CannotDraw."""
        drawn = self.page.evaluate(DRAW, text)
        if "error" in drawn:
            raise CannotDraw(drawn["error"])
        return str(drawn["svg"])


@contextmanager
def load() -> Iterator[Mermaid]:
    """Open a page with Mermaid in it."""
    static = files("jupyterlab") / "static"

    def answer(route: Route) -> None:
        name = route.request.url.removeprefix(f"{ADDRESS}/").partition("?")[0]
        if name:
            route.fulfill(body=(static / name).read_bytes(), content_type="text/javascript")
        else:
            route.fulfill(body=EMPTY, content_type="text/html")

    (main,) = (each.name for each in static.iterdir() if each.name.startswith("main."))
    with open_page() as page:
        page.route("**/*", answer)
        page.goto(f"{ADDRESS}/")
        page.add_script_tag(url=f"{ADDRESS}/{main}")  # late: JupyterLab itself does not start
        page.evaluate(LOAD)
        yield Mermaid(page)
