"""The pages for browsers. They need no script, and take nothing from elsewhere.

Their files end in `.html`, and whatever is put into one is escaped (CWE-79).
"""

import hashlib
import re
from base64 import b64encode
from functools import lru_cache
from pathlib import Path

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from ..settings import get_settings

FOLDER = Path(__file__).parent


def _digest_of_the_style() -> str:
    style = re.findall("<style>(.*?)</style>", (FOLDER / "base.html").read_text("utf-8"), re.DOTALL)
    return b64encode(hashlib.sha256("".join(style).encode()).digest()).decode()


# No script runs, no style but ours counts, no other site may frame a page (CWE-1021), and forms go
# to this site only.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_digest_of_the_style()}'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # With `no-referrer` a browser would say `Origin: null` of our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@lru_cache
def get_templates() -> Environment:
    """Read the folder of the pages once."""
    templates = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # a page changes with a restart, as code does
    )
    # Lesson 09's. Where none is configured, no page names one.
    templates.globals["providers"] = lambda: get_settings().providers
    return templates


def render(name: str, status_code: int = 200, /, **values: object) -> HTMLResponse:
    """Return a page, `login.html` for example, with these values in it.

    Raises jinja2.TemplateNotFound, and jinja2.UndefinedError when the page needs another value.
    """
    text = get_templates().get_template(name).render(values)
    return HTMLResponse(text, status_code, headers=HEADERS)
