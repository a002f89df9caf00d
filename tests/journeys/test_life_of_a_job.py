"""The life of a job in a real browser: pause, resume, stop and save, clone, retry, reorder, cancel several.

Real processes; the trainer is the scripted one (tests/fake_trainer reads its script in the job's name), because here only
the queue and the pages matter. The tests of this file are one story and run in their order.
"""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.journey

TRAINER = "tests.fake_trainer"
END = 60_000


def submit(page: Page, name: str) -> int:
    """The example's settings under a name that tells the trainer what to do."""
    page.goto("/jobs/new?example=1")
    page.get_by_label("Name", exact=True).fill(name)
    return submitted(page)


def submitted(page: Page) -> int:
    page.get_by_role("button", name="Submit job").click()
    page.wait_for_url(re.compile(r"/jobs/\d+/$"))
    return number_of(page)


def number_of(page: Page) -> int:
    found = re.search(r"/jobs/(\d+)/", page.url)
    assert found
    return int(found.group(1))


def chip(page: Page) -> Locator:
    return page.locator("#job-head .chip")


def wait_for_points(page: Page, number: int) -> None:
    page.wait_for_function(f"() => window.nibbleJob?.metrics.step.length >= {number}", timeout=END)


def plotted(page: Page) -> dict[str, Any]:
    answer: dict[str, Any] = page.evaluate("() => window.nibbleJob")
    return answer


def test_a_running_job_is_paused(page: Page, story: dict[str, Any]):
    story["job"] = job = submit(page, "night shift steps=300 step_ms=100 save=5")
    wait_for_points(page, 6)
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(chip(page)).to_have_text("Paused", timeout=END)
    expect(page.locator(".why")).to_have_text(
        re.compile(r"Paused at step \d+ by .+; its checkpoint is kept\. Resume puts it back in the queue\.")
    )
    page.goto(f"/jobs/{job}/checkpoints/")
    expect(page.get_by_text("Resume goes on from here.")).to_be_visible()
    with page.expect_download() as download:
        page.locator(".files-cell summary").first.click()
        page.locator(".files-cell a").first.click()
    assert download.value.path().stat().st_size > 0


def test_it_goes_on_where_it_was(page: Page, story: dict[str, Any]):
    page.goto(f"/jobs/{story['job']}/")
    before = plotted(page)["metrics"]["step"][-1]
    page.get_by_role("button", name="Resume").click()
    expect(chip(page)).to_have_text("Running", timeout=END)
    expect(page.get_by_text(re.compile(r"Attempt 2 of this job, from step \d+, on"))).to_be_visible()
    wait_for_points(page, before + 3)
    shown = plotted(page)
    assert shown["metrics"]["step"] == list(range(1, len(shown["metrics"]["step"]) + 1)), "no gap and no double"
    assert [mark["label"] for mark in shown["marks"]] == ["goes on"]
    expect(page.locator("#mark-key")).to_be_visible()


def test_it_is_stopped_with_its_adapter_saved(page: Page):
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("button", name="Stop and save").click()
    expect(chip(page)).to_have_text("Cancelled", timeout=END)
    expect(page.get_by_role("link", name="Download adapter")).to_be_visible(timeout=END)


def test_its_attempts_are_told(page: Page, story: dict[str, Any]):
    page.goto(f"/jobs/{story['job']}/events/")
    rows = page.locator("#attempts tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("paused; the work was kept")


def test_a_clone_has_its_settings_and_says_of_what(page: Page, story: dict[str, Any]):
    page.goto(f"/jobs/{story['job']}/")
    page.get_by_role("link", name="Clone").click()
    expect(page.get_by_text("A copy of")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("night shift steps=300 step_ms=100 save=5 (copy)")
    page.get_by_label("Name", exact=True).fill("copy steps=3")
    job = submitted(page)
    expect(page.locator("#job-head")).to_contain_text(f"from #{story['job']}")
    expect(chip(page)).to_have_text("Succeeded", timeout=END)
    assert job != story["job"]


def test_a_smaller_plan_is_told_while_it_runs(page: Page):
    submit(page, "tight steps=6 step_ms=80 oom_rows=1")
    expect(chip(page)).to_have_text("Succeeded", timeout=END)
    expect(page.locator("#job-changes")).to_contain_text("the result stays the same")
    page.get_by_role("link", name="Events", exact=True).click()
    expect(page.locator("#events")).to_contain_text("Smaller passes from step 0")


def test_a_failed_job_is_retried_from_the_beginning(page: Page):
    job = submit(page, "breaks fail=internal@2 steps=5")
    expect(chip(page)).to_have_text("Failed", timeout=END)
    expect(page.get_by_text("The script asked for this failure.").first).to_be_visible()
    page.locator("#job-head").get_by_role("button", name="Retry…").click()
    page.get_by_role("button", name="Retry from the beginning").click()
    page.wait_for_url(lambda address: f"/jobs/{job}/" not in address)
    expect(page.get_by_text(f"This job retries #{job}, which stays as it ended.")).to_be_visible()


def places(page: Page) -> list[str]:
    return page.locator("#queue-rows tbody td:nth-child(2) > a").all_inner_texts()


def shows_order(page: Page, *names: str) -> None:
    expect(page.locator("#queue-rows tbody td:nth-child(2) > a")).to_have_text(list(names))


def test_an_administrator_reorders_the_queue(page: Page, story: dict[str, Any]):
    submit(page, "hog steps=3000 step_ms=50")
    expect(chip(page)).to_have_text("Running", timeout=END)
    for name in ("one", "two", "three"):
        story[name] = submit(page, f"{name} steps=3")
    page.get_by_role("link", name="Whole queue").click()
    shows_order(page, "one steps=3", "two steps=3", "three steps=3")
    page.get_by_role("button", name="Move three steps=3 up").focus()
    page.keyboard.press("Enter")
    shows_order(page, "one steps=3", "three steps=3", "two steps=3")
    expect(page.get_by_role("button", name="Move three steps=3 up")).to_be_focused()
    expect(page.locator("#moved")).to_have_text("three steps=3 is number 2 now.")
    page.get_by_role("button", name="Move two steps=3 to the first place").click()
    shows_order(page, "two steps=3", "one steps=3", "three steps=3")
    page.locator(f"tr[data-job='{story['three']}']").drag_to(page.locator(f"tr[data-job='{story['two']}']"))
    shows_order(page, "three steps=3", "two steps=3", "one steps=3")
    page.goto(f"/jobs/{story['three']}/")
    expect(page.get_by_text("Number 1 in the queue of pool")).to_be_visible()


def test_a_priority_is_changed_on_the_page(page: Page, story: dict[str, Any]):
    page.goto(f"/jobs/{story['one']}/")
    page.get_by_label("Priority").select_option("Urgent")
    expect(page.get_by_text("Number 1 in the queue of pool")).to_be_visible()


def test_a_disabled_button_says_what_would_enable_it(page: Page):
    page.get_by_role("button", name="Pause", exact=True).click(force=True)  # the browser lets one press it: it explains itself
    expect(page.locator("#why-no-pause")).to_contain_text("It can be paused once a worker runs it")
    page.keyboard.press("Escape")


def test_several_are_cancelled_with_one_confirmation(page: Page, story: dict[str, Any]):
    page.goto("/jobs/?state=queued")
    for name in ("one", "three"):
        page.locator(f"input[name=job][value='{story[name]}']").check()
    expect(page.locator("#selected-count")).to_have_text("2")
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Stop and discard").click()
    expect(page.get_by_text("2 jobs asked to stop.")).to_be_visible()
    expect(page.locator("#rows tbody tr")).to_have_count(1)


def test_one_that_runs_is_stopped_and_the_next_starts(page: Page, story: dict[str, Any]):
    page.goto("/jobs/?state=running")
    page.get_by_role("link", name=re.compile("hog")).click()
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("button", name="Stop and discard").click()
    expect(chip(page)).to_have_text("Cancelled", timeout=END)
    page.goto(f"/jobs/{story['two']}/")
    expect(chip(page)).to_have_text("Succeeded", timeout=END)
