"""Lesson 09 through a certified provider, npm's `oidc-provider`, in a real browser.

The app is on `localhost`, the provider on `127.0.0.1`: two sites, as in the world.
"""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import open_page
from tests.oidc_provider import CLIENT, oidc_provider
from tests.processes import free_port, serve


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the whole system, which has the provider configured."""
    folder, port = tmp_path_factory.mktemp("social"), free_port()
    url = f"http://localhost:{port}"
    with oidc_provider(f"{url}/callback/oidc", folder / "provider") as issuer:
        env = {"ENVIRONMENT": "development", "BCRYPT_ROUNDS": "4", "PUBLIC_URL": url}
        env |= {"OIDC_ISSUER": issuer, **CLIENT}
        with serve("solutions.main:app", folder / "log", port=port, **env):
            yield url
        assert " 500 " not in (folder / "log").read_text()


@pytest.fixture
def context(place: str) -> Iterator[BrowserContext]:
    """A browser without script in which nobody is logged in, here or there."""
    with open_page() as page:
        assert page.context.browser
        context = page.context.browser.new_context(java_script_enabled=False)
        yield context
        context.close()


def log_in_there(page: Page, name: str) -> None:
    """Fill in the provider's own pages: who, then consent."""
    expect(page).to_have_url(re.compile(r"^http://127\.0\.0\.1:\d+/interaction/"))
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", "any")
    page.click("button[type=submit]")
    page.click("button[type=submit]")  # consent


def log_in(page: Page, place: str, name: str) -> None:
    page.goto(f"{place}/login")
    page.click("text=Log in with OpenID")
    log_in_there(page, name)
    expect(page).to_have_url(f"{place}/account")


def test_a_login_with_consent_and_a_second_one(place: str, context: BrowserContext) -> None:
    page = context.new_page()
    log_in(page, place, "erin")
    expect(page.locator("main")).to_contain_text("(erin)")
    expect(page.locator("main")).to_contain_text("erin Example")
    page.click("text=Log out")
    expect(page).to_have_url(f"{place}/login")
    page.goto(f"{place}/account")
    expect(page).to_have_url(f"{place}/login")
    # The provider still knows her, and sends her straight back.
    page.click("text=Log in with OpenID")
    expect(page).to_have_url(f"{place}/account")
    expect(page.locator("main")).to_contain_text("(erin)")


def test_linking_from_inside_and_unlinking(place: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{place}/login?next=/account/identities")
    page.fill("input[name=username]", "johndoe")
    page.fill("input[name=password]", "secret")
    page.click("main button")
    expect(page).to_have_url(f"{place}/account/identities")
    page.click("text=Link OpenID")
    log_in_there(page, "john-elsewhere")
    expect(page).to_have_url(f"{place}/account/identities")
    expect(page.locator("table")).to_contain_text("john-elsewhere@example.com")
    page.goto(f"{place}/account")
    page.click("text=Log out")
    page.click("text=Log in with OpenID")
    expect(page.locator("main")).to_contain_text("(johndoe)")
    page.click("text=Your ways in")
    page.click("button:has-text('Unlink')")
    expect(page.locator("main")).to_contain_text("No provider is linked.")


def test_the_last_way_in_stays(place: str, context: BrowserContext) -> None:
    page = context.new_page()
    log_in(page, place, "fay")
    page.click("text=Your ways in")
    page.click("button:has-text('Unlink')")
    expect(page.locator("[role=alert]")).to_contain_text("last way")


def test_saying_no_at_the_provider(place: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{place}/login")
    page.click("text=Log in with OpenID")
    page.click("text=[ Cancel ]")
    expect(page.locator("[role=alert]")).to_contain_text("did not work")
    page.click("text=Log in")
    expect(page).to_have_url(f"{place}/login")


@pytest.mark.asvs("10.1.1")
def test_a_program_gets_its_tokens_at_the_token_endpoint(
    place: str, context: BrowserContext
) -> None:
    """What comes back from a provider is a cookie. No token stands in an address or on a page."""
    page = context.new_page()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    log_in(page, place, "gina")
    ours = [url for url in seen if url.startswith(place)]
    assert ours and not [url for url in ours if "token" in url or "#" in url or "eyJ" in url]
    assert "eyJ" not in page.content()
    form = {"username": "johndoe", "password": "secret"}
    tokens = httpx.post(f"{place}/token", data=form, trust_env=False).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = httpx.get(f"{place}/users/me", headers=bearer, trust_env=False)
    assert me.json()["username"] == "johndoe"
    assert httpx.get(f"{place}/session", headers=bearer, trust_env=False).status_code == 401
