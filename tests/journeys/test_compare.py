"""LoRA against QLoRA in a real browser: one click, both jobs run, and Compare shows them side by side.

Real processes; the trainer is the scripted one (tests/fake_trainer reads its script in the job's name). The tests of this file
are one story and run in their order.
"""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.journey

TRAINER = "tests.fake_trainer"
END = 60_000
STEPS = 8


def curves(page: Page) -> dict[str, Any]:
    told: dict[str, Any] = page.evaluate("() => window.nibbleCompare.curves")
    return told


def test_one_click_submits_a_pair(page: Page, story: dict[str, Any]):
    page.goto("/jobs/new?example=1")
    page.get_by_label("Name", exact=True).fill(f"steps={STEPS} step_ms=400")
    page.get_by_role("button", name="Submit as LoRA/QLoRA pair").dblclick(no_wait_after=True)
    expect(page).to_have_url(re.compile(r"/compare/\?jobs=\d+,\d+$"), timeout=END)  # the first of two clicks' pages is given up
    story["address"] = page.url
    story["jobs"] = [int(number) for number in page.url.rpartition("=")[2].split(",")]
    assert len(page.request.get("/api/v1/jobs").json()["data"]) == 2, "a double click is one pair"


def test_both_columns_come_to_life_without_a_reload(page: Page, story: dict[str, Any]):
    page.evaluate("() => { window.sameDocument = true; }")
    names = page.locator(".compared-name a:not(.icon-button)")
    expect(names).to_have_text([re.compile("· LoRA$"), re.compile("· QLoRA$")])
    expect(page.locator("#compared [role=status]")).to_contain_text("fetched anew every five seconds")
    expect(page.locator(".compared thead .chip").nth(0)).to_have_text("Succeeded", timeout=END)
    expect(page.locator(".compared thead .chip").nth(1)).to_have_text("Succeeded", timeout=END)
    expect(page.locator("#compared [role=status]")).to_have_count(0)
    expect(page.locator(".compared tr", has_text="Training time").locator("td").nth(1)).to_contain_text("×")
    assert page.evaluate("() => window.sameDocument") is True


def test_their_curves_lie_over_each_other(page: Page, story: dict[str, Any]):
    page.wait_for_function(
        "steps => Object.values(window.nibbleCompare.curves).every((one) => one.curve.step.at(-1) === steps)", arg=STEPS
    )
    assert [int(job) for job in curves(page)] == story["jobs"]
    for name in ("loss", "memory", "rate"):
        expect(page.locator(f"#curve-{name} canvas")).to_be_visible()
    expect(page.locator("#box-eval")).to_be_hidden()


def test_only_the_precision_differs(page: Page):
    rows = page.locator(".differing tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("4 bits (NF4, double quantisation)")


def test_a_reload_keeps_how_they_are_drawn(page: Page, story: dict[str, Any]):
    page.get_by_text("Time", exact=True).click()
    page.get_by_label("Log scale").check()
    page.get_by_label("Smooth").uncheck()
    expect(page).to_have_url(f"{story['address']}&by=time&log=1&smooth=0")
    page.reload()
    expect(page.locator("#curve-loss canvas")).to_be_visible()
    assert page.evaluate("() => window.nibbleCompare.view") == {"by": "time", "log": True, "smooth": False}
    expect(page.get_by_label("Log scale")).to_be_checked()


def test_the_list_leads_here_too(page: Page, story: dict[str, Any]):
    page.goto("/jobs/")
    for job in story["jobs"]:
        page.locator(f"input[name=job][value='{job}']").check()
    expect(page.get_by_role("button", name="Pause…")).to_be_disabled()  # both have ended
    page.locator("#selected-compare").click()
    expect(page).to_have_url(story["address"])


def test_each_page_of_a_pair_leads_here_too(page: Page, story: dict[str, Any]):
    page.goto(f"/jobs/{story['jobs'][1]}/")
    expect(page.locator("#job-memory")).to_contain_text("this run is on a CPU")
    page.locator("#job-twin").get_by_role("link", name="Compare").click()
    expect(page).to_have_url(story["address"])
