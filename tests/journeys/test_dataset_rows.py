"""Rows in a real browser: paging without a reload, by keyboard, on a phone, without scripts; and no script of a row ever runs."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.staged import Staged, staged_nibble

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def stage() -> Iterator[Staged]:
    with staged_nibble() as staged:
        yield staged


def visitor(browser: Browser, stage: Staged, **look: object) -> Page:
    context = browser.new_context(base_url=stage.url, **look)  # type: ignore[arg-type]
    context.add_cookies([{"name": "nibble_session", "value": stage.sessions["alice"], "url": stage.url}])
    page = context.new_page()
    page.on("dialog", lambda dialog: pytest.fail(f"A script of a row ran: {dialog.message}"))
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    return page


def test_paging_and_searching_replace_the_list_alone(browser: Browser, stage: Staged):
    page = visitor(browser, stage)
    page.goto(f"/datasets/{stage.things['judged']}/")
    page.evaluate("() => { window.sameDocument = true; }")
    expect(page.locator("#browser [role=status]")).to_have_text("Rows 1 to 25 of 60")
    page.locator("#page-next").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#browser [role=status]")).to_have_text("Rows 26 to 50 of 60")
    expect(page.locator("#page-next")).to_be_focused()
    page.get_by_role("searchbox", name="Search the rows").fill("ORDER 41")
    page.keyboard.press("Enter")
    expect(page.locator("#browser mark")).to_have_text("order 41")
    expect(page.locator("#browser .row-shown")).to_have_count(1)
    assert "q=ORDER" in page.url
    page.get_by_label("Go to row").fill("59")
    page.keyboard.press("Enter")
    expect(page.locator("#row-59")).to_contain_text("order 58")
    assert page.evaluate("() => window.sameDocument") is True
    page.go_back()
    expect(page.locator("#browser mark")).to_have_text("order 41")


def test_markup_in_rows_and_errors_is_text(browser: Browser, stage: Staged):
    page = visitor(browser, stage)
    page.goto(f"/datasets/{stage.things['tools']}/?q=%3Cscript%3E")
    expect(page.locator("#browser mark").first).to_have_text("<script>")
    page.locator("details.longer").first.evaluate("(part) => { part.open = true; }")
    page.goto(f"/datasets/{stage.things['tools']}/problems/")
    expect(page.locator(".problems-table")).to_be_visible()
    assert page.locator("#browser script").count() == 0


def test_without_scripts_and_on_a_phone(browser: Browser, stage: Staged):
    page = visitor(browser, stage, java_script_enabled=False, viewport={"width": 390, "height": 844})
    page.goto(f"/datasets/{stage.things['judged']}/")
    page.locator("#page-last").click()
    expect(page.locator("#browser [role=status]")).to_have_text("Rows 36 to 60 of 60")
    page.goto(f"/datasets/{stage.things['tools']}/problems/")
    page.get_by_role("link", name="wrong role").click()
    expect(page.locator(".problems-table tbody tr")).to_have_count(30)
