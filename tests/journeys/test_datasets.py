"""Datasets in a real browser, with a real worker: files of each form dropped on the page, mended, mapped, counted, split, trained on.

The tests of this file are one story and run in their order.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.format_files import FILES, FormatFile, delimited, json_array, jsonl, tasks, turns
from webapp.templatetags.units import short_count

pytestmark = [pytest.mark.journey, pytest.mark.torch]

END = 180_000
SOON = 60_000  # a worker looks at a file, or counts its tokens
ROWS, HELD_OUT = 20, 2
BAD = [
    {"messages": turns("Is this row good?", "Yes.")},
    b"{not JSON\n",
    {"messages": [{"role": "user", "content": "Who answers?"}]},
    {"messages": turns("And this one?", "Good as well.")},
]
ASKED = [("ask", "reply", "source"), *((f"What is {n} and {n}?", f"It is {2 * n}.", "sums") for n in range(6))]


def drop(page: Page, *files: Path) -> None:
    """As from the desktop: a drag over the page, and the drop."""
    box = page.locator("[data-drop]").bounding_box()
    assert box is not None
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    cdp = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        cdp.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})
    cdp.detach()


def add_dataset(page: Page, path: Path, *, name: str) -> str:
    """Its page, once every row is checked."""
    page.goto("/datasets/")
    page.locator("#upload").scroll_into_view_if_needed()
    drop(page, path)
    expect(page.locator("[data-files] li", has_text=path.name)).to_contain_text("arrived")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Upload and check").click()
    page.wait_for_url(re.compile(r"/datasets/\d+/$"))
    expect(page.get_by_text("Being checked")).to_have_count(0, timeout=SOON)
    return page.url


def tab(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Parts of this dataset").get_by_role("link", name=re.compile(f"^{name}")).click()


def chip(page: Page) -> Locator:
    return page.locator("main .chip").first


def number_in(text: str | None, pattern: str) -> int:
    found = re.search(pattern, re.sub(r"\s+", " ", text or ""))
    assert found, f"no {pattern} in {text}"
    return int(found.group(1).replace(",", ""))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_dropped_file_says_what_it_is(page: Page, tmp_path: Path, file: FormatFile) -> None:
    path = tmp_path / file.name
    path.write_bytes(file.content)
    add_dataset(page, path, name=f"as {file.name}")
    expect(chip(page)).to_have_text("Ready")
    expect(page.locator("p.recognised")).to_contain_text(file.said)
    expect(page.locator("#browser [role=status]")).to_contain_text(f"Rows 1 to {file.rows} of {file.rows}")


def test_bad_rows_are_named_and_the_good_ones_used(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"".join(row if isinstance(row, bytes) else jsonl([row]) for row in BAD))
    add_dataset(page, path, name="bad rows")
    expect(chip(page)).to_have_text("Has problems")
    expect(page.get_by_role("button", name="Train on it")).to_be_disabled()
    tab(page, "Problems")
    problems = page.locator(".problems-table tbody tr")
    expect(problems).to_have_count(2)
    expect(problems.nth(0).locator("[data-label=Line]")).to_have_text("2")
    expect(problems.nth(0)).to_contain_text("JSON")
    expect(problems.nth(1).locator("[data-label=Line]")).to_have_text("3")
    expect(problems.nth(1)).to_contain_text("assistant")
    page.get_by_role("button", name="Use the good rows").click()
    expect(page.get_by_text("Version 2 holds the 2 good rows and can be trained on.")).to_be_visible()
    expect(chip(page)).to_have_text("Ready")
    expect(page.locator("#browser [role=status]")).to_contain_text("Rows 1 to 2 of 2")
    expect(page.locator(".row-shown").nth(1)).to_contain_text("And this one?")


def test_columns_of_other_names_are_chosen(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "asked.csv"
    path.write_bytes(delimited(ASKED))
    add_dataset(page, path, name="other columns")
    expect(chip(page)).to_have_text("Needs your eye")
    page.get_by_role("link", name="Choose the columns").click()
    page.get_by_label("Prompt and completion").check()
    page.locator("[name=column-prompt]").select_option("ask")
    page.locator("[name=column-completion]").select_option("reply")
    expect(page.locator("#mapping-live")).to_contain_text("the first 6 rows can be used")
    page.get_by_role("button", name="Use these columns").click()
    page.wait_for_url(re.compile(r"/datasets/\d+/"))
    expect(chip(page)).to_have_text("Ready", timeout=SOON)
    expect(page.get_by_text("The columns were chosen by hand.")).to_be_visible()
    expect(page.locator(".row-shown").nth(3)).to_contain_text("What is 3 and 3?")


def test_a_share_is_held_out(page: Page, tmp_path: Path, story: dict[str, Any]) -> None:
    path = tmp_path / "tasks.json"
    path.write_bytes(json_array(tasks(ROWS)))
    story["dataset"] = add_dataset(page, path, name="tasks")
    tab(page, "Versions")
    page.get_by_text("Hold rows out for evaluation").click()
    page.get_by_label("Hold out", exact=True).fill("10")
    page.get_by_role("button", name="Split", exact=True).click()
    page.wait_for_url(story["dataset"])
    expect(page.locator("main .tag", has_text="v2")).to_be_visible()
    expect(chip(page)).to_have_text("Ready", timeout=SOON)
    marked = page.locator(".row-shown .tag", has_text="test")
    page.goto(f"{story['dataset']}?split=test")
    expect(marked).to_have_count(HELD_OUT)
    story["held_out"] = {number_in(row.get_attribute("id"), r"row-(\d+)") for row in page.locator(".row-shown").all()}


def test_what_changed_is_worked_out_by_itself(page: Page, story: dict[str, Any]) -> None:
    page.goto(story["dataset"])
    tab(page, "Versions")
    page.get_by_role("link", name="Changes").first.click()
    expect(page.get_by_text("Held out otherwise")).to_be_visible(timeout=SOON)
    expect(page.locator(".kpi", has_text="Unchanged").locator("b")).to_have_text(str(ROWS))


def test_every_row_is_seen_as_tokens(page: Page, story: dict[str, Any]) -> None:
    """As SmolLM2 reads it: the answer is trained, with the end of its turn."""
    page.goto(story["dataset"])
    tab(page, "Template & mask")
    first = page.locator("#row-1")
    expect(first.locator(".turn.user .tok.trained")).to_have_count(0)
    trained = "".join(first.locator(".turn.assistant .tok.trained").all_inner_texts())
    assert trained.replace("·", " ").startswith("Blue, where no cloud stands before it.")
    assert "<|im_end|>" in trained
    story["trained"] = {}
    while True:
        for row in page.locator(".token-row").all():
            said = row.locator(".panel-head .muted").inner_text()
            number = number_in(row.get_attribute("id"), r"row-(\d+)")
            story["trained"][number] = number_in(said, r"([\d,]+) trained")
            assert story["trained"][number] == row.locator(".tok.trained").count()
        after = page.get_by_role("navigation", name="Rows").get_by_role("link", name="After")
        if not after.count():
            break
        after.click()
        page.wait_for_url(re.compile(f"row={number + 1}$"))
    assert sorted(story["trained"]) == list(range(1, ROWS + 1))


def test_the_statistics_are_counted(page: Page, story: dict[str, Any]) -> None:
    page.goto(story["dataset"])
    tab(page, "Statistics")
    page.get_by_role("button", name="Count the tokens").click()
    expect(page.locator("#cut-told")).to_be_visible(timeout=SOON)
    expect(page.locator(".plot rect").first).to_be_attached()
    trained = sum(trained for number, trained in story["trained"].items() if number not in story["held_out"])
    assert page.locator(".kpi", has_text="Trained").locator("small").inner_text().startswith(short_count(trained))
    expect(page.locator(".lengths .panel-head")).to_contain_text(f"{ROWS - HELD_OUT} rows")
    expect(page.locator(".counted-told")).to_contain_text(f"{HELD_OUT} rows are held out")
    counted = page.locator("#lengths").inner_text()
    assert json.loads(counted)["trained_tokens"] == trained
    page.get_by_label("Max length", exact=True).fill("16")
    expect(page.locator("#cut-told")).to_contain_text(re.compile(r"rows? \([\d.]+ %\) would be cut"))
    page.get_by_label("Max length", exact=True).fill("128")
    expect(page.locator("#cut-told")).to_contain_text("No row would be cut.")


def test_the_job_trains_on_what_was_shown(page: Page, story: dict[str, Any]) -> None:
    page.get_by_role("button", name="Train with this max length").click()
    page.wait_for_url(re.compile(r"/jobs/new\?"))
    expect(page.locator("[name='training.max_length']")).to_have_value("128")
    for fold in page.locator("details.fold").all():
        if fold.get_attribute("open") is None and fold.locator("[name]").count():
            fold.locator("summary").first.click()
    page.get_by_label("Name", exact=True).fill("what was shown")
    page.get_by_label("Evaluate on", exact=True).select_option("test")
    fields = {"max_steps": "2", "num_train_epochs": "", "per_device_train_batch_size": "2", "eval_steps": "2"}
    for name, value in fields.items():
        page.locator(f"[name='training.{name}']").fill(value)
    page.get_by_role("button", name="Submit job").click()
    page.wait_for_url(re.compile(r"/jobs/\d+/$"))
    expect(page.locator("#job-head .chip")).to_have_text("Succeeded", timeout=END)
    page.reload()
    plan = page.locator("#job-plan").inner_text()
    trained_on = {number: trained for number, trained in story["trained"].items() if number not in story["held_out"]}
    assert number_in(plan, r"([\d,]+) trained on") == len(trained_on) == ROWS - HELD_OUT
    assert number_in(plan, r"([\d,]+) held out") == len(story["held_out"]) == HELD_OUT
    assert number_in(plan, r"of which ([\d,]+) count in the loss") == sum(trained_on.values())
    series = page.request.get(f"{page.url}series.json").json()["metrics"]
    assert [loss for loss in series["eval_loss"] if loss is not None], "nothing was measured on the rows held out"
