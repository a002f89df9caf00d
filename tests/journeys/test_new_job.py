"""The New job form in a real browser: the bar follows the fields, one click makes it fit, a preset fills in and is taken back.

The tests of this file are one story and run in their order.
"""

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


@pytest.fixture(scope="module")
def page(stage: Staged, browser: Browser) -> Iterator[Page]:
    """Alice, who copies a run of an 8B model in a pool of H100s. An error on the page fails the journey."""
    context = browser.new_context(base_url=stage.url)
    context.add_cookies([{"name": "nibble_session", "value": stage.sessions["alice"], "url": stage.url}])
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(f"/jobs/new?clone={stage.things['running']}")
    yield page
    context.close()
    assert errors == []


def verdict(page: Page) -> Locator:
    return page.locator("#memory .chip-verdict")


def need(page: Page) -> Locator:
    return page.locator("#memory .verdict b")


def field(page: Page, name: str) -> Locator:
    return page.locator(f"[name='{name}']")


def choice(page: Page, name: str, value: str) -> Locator:
    return page.locator(f"[name={name}][value={value}]")


def setting(page: Page, name: str) -> Locator:
    return page.locator(f"[data-path='{name}']")


def unfold(page: Page, name: str) -> None:
    fold = page.locator("details.fold", has=field(page, name))
    if fold.get_attribute("open") is None:
        fold.locator("summary").first.click()


def test_the_bar_follows_a_field(page: Page):
    expect(verdict(page)).to_have_text("Fits")
    before = need(page).inner_text()
    field(page, "lora.r").fill("512")
    expect(need(page)).not_to_have_text(before)
    expect(page.locator("#trained-there")).to_contain_text(re.compile(r"Trains [\d,]{9,} parameters"))
    setting(page, "lora.r").get_by_role("button", name="default: 16").click()
    expect(field(page, "lora.r")).to_have_value("16")


def test_only_what_is_chosen_is_asked_for(page: Page):
    expect(setting(page, "objective.packing")).to_be_visible()
    choice(page, "objective", "dpo").check()
    expect(setting(page, "objective.packing")).to_be_hidden()
    expect(setting(page, "objective.beta")).to_be_visible()
    choice(page, "method", "full").check()
    expect(setting(page, "lora.r")).to_be_hidden()
    expect(setting(page, "quantization.dtype")).to_be_visible()


def test_rows_that_the_objective_cannot_learn_from_are_told_at_once(page: Page):
    wrong = page.locator("#id_dataset_version_field .error")
    expect(wrong).to_contain_text("DPO learns from pairs of a chosen and a rejected answer; support-tickets v1 has conversations.")
    choice(page, "objective", "sft").check()
    expect(wrong).to_have_count(0)


def test_what_does_not_fit_is_made_to_fit_with_one_click_and_back(page: Page):
    unfold(page, "optimizer.optim")
    field(page, "optimizer.optim").select_option("adamw_torch")
    field(page, "quantization.dtype").select_option("float32")
    expect(verdict(page)).to_have_text("Does not fit")
    expect(page.locator("#memory .memory-why").first).to_contain_text("too much for 80.0 GiB")
    page.locator("#memory .helps-it button").click()
    expect(verdict(page)).not_to_have_text("Does not fit")
    told = page.locator("#change-told")
    expect(told).to_contain_text("Changed.")
    told.get_by_role("button", name="Undo").click()
    expect(verdict(page)).to_have_text("Does not fit")


def test_a_part_is_shown_in_the_bar(page: Page):
    with page.expect_response("**/jobs/preview"):  # what is under the pointer is replaced when it comes
        choice(page, "method", "bitsandbytes_4bit").check()
    legend = page.locator("#memory .legend li", has_text="Embeddings")
    legend.hover()
    expect(legend.locator("small")).to_be_visible()
    expect(page.locator("#memory > .parts-bar .dimmed").first).to_be_attached()


def test_layers_are_chosen_by_their_names(page: Page):
    targets = setting(page, "lora.target_modules")
    targets.get_by_text("Queries and values", exact=True).click()
    expect(targets.locator("[aria-pressed=true]")).to_have_text(["q_proj", "v_proj"])
    targets.get_by_text("Choose layers", exact=True).click()
    targets.get_by_role("button", name="k_proj").click()
    expect(field(page, "lora.target_modules")).to_have_value("q_proj, v_proj, k_proj")


def test_a_preset_fills_in_says_so_and_is_taken_back(page: Page):
    field(page, "optimizer.learning_rate").fill("3e-5")
    page.locator("[data-preset=quality]").click()
    told = page.locator("#preset-told")
    expect(told).to_contain_text("Learning rate: 3e-5 → 0.0001")
    expect(field(page, "lora.r")).to_have_value("64")
    expect(choice(page, "method", "none")).to_be_checked()
    told.get_by_role("button", name="Undo").click()
    expect(field(page, "optimizer.learning_rate")).to_have_value("3e-5")
    expect(choice(page, "method", "bitsandbytes_4bit")).to_be_checked()


def test_what_differs_from_a_preset_is_marked(page: Page):
    page.locator("[data-preset=low_memory]").click()
    field(page, "lora.r").fill("32")
    field(page, "lora.r").blur()
    expect(page.locator("#preset-told")).to_contain_text("1 setting differs from Low memory: Rank (r).")
    expect(setting(page, "lora.r").locator(".standard")).to_have_text("Low memory: 8")


def test_it_is_submitted_as_it_stands(page: Page):
    expect(page.locator("#preview .ready")).to_be_visible()
    page.get_by_role("button", name="Submit job").click()
    expect(page).to_have_url(re.compile(r"/jobs/\d+/$"))
    page.goto(f"{page.url}config/")
    expect(page.locator("#config-json")).to_contain_text('"r": 32')
    expect(page.locator("#config-json")).to_contain_text('"lora_alpha": 16')
