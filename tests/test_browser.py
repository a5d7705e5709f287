"""The whole system's /docs in a real browser without a network: Authorize, Try it out, Logout."""

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import open_page
from tests.processes import serve

METHODS = {"get", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serve("solutions.main:app", log, BCRYPT_ROUNDS="4") as client:
        yield str(client.base_url)
    assert " 500 " not in log.read_text()


@pytest.fixture
def page() -> Iterator[Page]:
    with open_page() as page:
        yield page


class Docs:
    """What a person does on the page, and what it asked for and complained about meanwhile."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.hosts: set[str | None] = set()
        self.errors: list[str] = []
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and self.errors.append(message.text),
        )
        page.set_default_timeout(30_000)  # milliseconds; a busy machine takes some
        page.goto(f"{address}/docs")

    def open_dialog(self, scheme: str) -> Locator:
        """Press Authorize, and return the form of one scheme."""
        self.page.locator(".auth-wrapper > .btn.authorize").click()
        return self.page.locator(".auth-container").filter(has_text=scheme)

    def close_dialog(self, form: Locator, shown: str) -> None:
        """Close it once it offers the next step: `Logout` when in, `Authorize` when out."""
        expect(form.locator("button", has_text=shown)).to_be_visible()
        self.page.locator(".modal-ux .close-modal").click()

    def log_in(self, scopes: bool) -> None:
        form = self.open_dialog("OAuth2PasswordBearer")
        form.locator("#oauth_username").fill("johndoe")
        form.locator("#oauth_password").fill("secret")
        form.locator(".scopes a", has_text="all" if scopes else "none").click()
        boxes = form.locator(".scopes input[type=checkbox]")
        expect(boxes).to_have_count(2)
        for box in boxes.all():
            expect(box).to_be_checked(checked=scopes)
        with self.page.expect_response("**/token") as answer:
            form.locator("button", has_text="Authorize").click()
        # Asking for nothing in particular is asking for all.
        assert answer.value.json()["scope"] == "me items"
        self.close_dialog(form, "Logout")

    def log_out(self) -> None:
        form = self.open_dialog("OAuth2PasswordBearer")
        form.locator("button", has_text="Logout").click()
        self.close_dialog(form, "Authorize")

    def use_key(self, key: str) -> None:
        form = self.open_dialog("APIKeyHeader")
        form.get_by_role("textbox").fill(key)
        form.locator("button", has_text="Authorize").click()
        self.close_dialog(form, "Logout")

    def execute(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Open an operation, try it out, and return status and body of the answer."""
        block = self.page.locator(f".opblock-{method}").filter(
            has=self.page.locator(f'[data-path="{path}"]')
        )
        block.locator(".opblock-summary-control").click()
        block.get_by_role("button", name="Try it out").click()
        if body is not None:
            block.locator("textarea").fill(json.dumps(body))
        with self.page.expect_response(f"**{path}") as answer:
            block.get_by_role("button", name="Execute").click()
        shown = block.locator(".live-responses-table tbody .response").first
        expect(shown.locator(".response-col_status")).to_contain_text(str(answer.value.status))
        text = shown.locator(".response-col_description code").first.inner_text()
        for leave in ("Clear", "Cancel"):
            block.get_by_role("button", name=leave).click()
        block.locator(".opblock-summary-control").click()
        return answer.value.status, text


def test_the_docs_can_be_used_without_a_network(page: Page, address: str) -> None:
    docs = Docs(page, address)
    paths = page.request.get(f"{address}/openapi.json").json()["paths"]
    operations = sum(len(METHODS & set(operations)) for operations in paths.values())
    expect(page.locator(".opblock")).to_have_count(operations)

    for scopes in (False, True):
        docs.log_in(scopes)
        status, text = docs.execute("get", "/users/me")
        assert status == 200 and "johndoe" in text
        if not scopes:
            docs.log_out()
            status, text = docs.execute("get", "/users/me")
            assert status == 401 and "Not authenticated" in text

    wanted = {"name": "from the page", "scopes": ["items"], "expires_in_days": 1}
    status, text = docs.execute("post", "/api-keys", wanted)
    assert status == 201
    docs.use_key(json.loads(text)["key"])
    status, text = docs.execute("get", "/api/protected")
    assert status == 200 and "johndoe" in text

    docs.log_out()
    assert docs.execute("get", "/users/me")[0] == 401
    assert docs.hosts == {"127.0.0.1"}
    # The browser reports a 401 as an error, and there were two.
    assert [error for error in docs.errors if "401 (Unauthorized)" not in error] == []
    assert len(docs.errors) == 2
