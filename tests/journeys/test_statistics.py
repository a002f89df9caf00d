"""The line of a dataset's statistics in a real browser: dragged with the mouse, a finger and the keyboard, and taken to New job."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.staged import Staged, staged_nibble

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def stage() -> Iterator[Staged]:
    with staged_nibble() as staged:
        yield staged


@pytest.fixture
def page(stage: Staged, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(base_url=stage.url, has_touch=True)
    context.add_cookies([{"name": "nibble_session", "value": stage.sessions["alice"], "url": stage.url}])
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"/datasets/{stage.things['dataset']}/statistics/")
    expect(line(page)).to_have_attribute("aria-valuetext", re.compile("^512 tokens"))
    yield page
    context.close()
    assert errors == []


def line(page: Page) -> Locator:
    return page.get_by_role("slider", name="Maximum length in tokens")


def told(page: Page) -> str:
    return re.sub(r"\s+", " ", page.locator("#cut-told").inner_text())


def rows_cut(page: Page) -> int:
    found = re.match(r"([\d,]+) rows? \(", told(page))
    return int(found.group(1).replace(",", "")) if found else 0


def at(page: Page, share: float) -> tuple[float, float]:
    """A point of the line's ground, from the left."""
    box = line(page).bounding_box()
    assert box is not None
    return box["x"] + share * box["width"], box["y"] + box["height"] / 2


def where(page: Page) -> tuple[float, float]:
    """The line itself: its middle goes from half a thumb to half a thumb before the end."""
    value, most = float(line(page).input_value()), float(line(page).get_attribute("max") or 1)
    box = line(page).bounding_box()
    assert box is not None
    return box["x"] + 13 + (value - 1) / (most - 1) * (box["width"] - 26), box["y"] + box["height"] / 2


def test_the_mouse_drags_it_and_the_figures_follow(page: Page) -> None:
    before = rows_cut(page)
    page.mouse.move(*where(page))
    page.mouse.down()
    seen = []
    for share in (0.4, 0.3, 0.2, 0.1):
        page.mouse.move(*at(page, share))
        seen.append(rows_cut(page))
    page.mouse.up()
    assert before < seen[0] < seen[1] < seen[2] < seen[3]
    assert re.search(r"[\d.]+ % of trained tokens lost\.", told(page))
    expect(page.get_by_label("Max length", exact=True)).to_have_value(line(page).input_value())


def test_a_finger_drags_it(page: Page) -> None:
    before = rows_cut(page)
    cdp = page.context.new_cdp_session(page)

    def touch(kind: str, point: tuple[float, float] | None) -> None:
        points = [{"x": point[0], "y": point[1]}] if point else []
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", where(page))
    for share in (0.4, 0.3, 0.2):
        touch("touchMove", at(page, share))
    touch("touchEnd", None)
    expect(line(page)).not_to_have_value("512")
    assert rows_cut(page) > before


def test_the_keyboard_moves_it(page: Page) -> None:
    line(page).focus()
    page.keyboard.press("ArrowRight")
    expect(line(page)).to_have_value("513")
    page.keyboard.press("Home")
    assert told(page).startswith("4,800 rows (100 %) would be cut")
    page.keyboard.press("End")
    assert told(page).startswith("No row would be cut.")


def test_a_share_and_an_exact_length_set_it(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^90 % fit in")).click()
    assert re.match(r"\d+ rows \((9\.\d|10) %\) would be cut", told(page))
    page.get_by_label("Max length", exact=True).fill("100000")
    assert told(page).startswith("No row would be cut.")


def test_a_larger_batch_pads_more_and_takes_fewer_steps(page: Page) -> None:
    def figures() -> tuple[int, int]:
        steps = int(page.locator("[data-steps]").inner_text().replace(",", ""))
        return steps, int(page.locator("[data-padding]").inner_text().removesuffix(" %"))

    steps, padding = figures()
    page.get_by_label("Rows a step").fill("64")
    expect(page.locator("[data-steps]")).not_to_have_text(f"{steps:,}")
    fewer, more = figures()
    assert fewer < steps
    assert more > padding
    page.get_by_role("button", name=re.compile("^50 % fit in")).click()
    expect(page.locator("[data-padding]")).not_to_have_text(f"{more} %")  # the line moved: it is reckoned anew


def test_new_job_takes_the_length_and_tells_what_it_cuts(page: Page) -> None:
    page.get_by_label("Max length", exact=True).fill("300")
    cut = told(page).partition(" of them")[0].rpartition(" ")[0]
    page.get_by_role("button", name="Train with this max length").click()
    page.wait_for_url(re.compile(r"/jobs/new\?"))
    expect(page.locator("[name='training.max_length']")).to_have_value("300")
    expect(page.locator("#cut-there")).to_contain_text(cut)
    page.locator("[name='training.max_length']").fill("2000")
    expect(page.locator("#cut-there")).to_have_text("No row would be cut.")
