"""The main job in a real browser: upload, submit, real QLoRA, the live curve through a reload and a restart, download.

The tests of this file are one story and run in their order.
"""

import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.running import Nibble
from tests.waiting import wait_until

pytestmark = [pytest.mark.journey, pytest.mark.torch]

STEPS = 8
ROWS = [
    {"messages": [{"role": "user", "content": f"What is {n} plus {n}?"}, {"role": "assistant", "content": f"Ahoy! It is {2 * n}."}]}
    for n in range(12)
]
END = 180_000


def submit(page: Page, *, name: str, steps: int, max_length: int = 128) -> int:
    """Fills the form as a user would and returns the job's number."""
    page.goto("/jobs/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.locator("[name=base_model]").select_option(label="SmolLM2 135M Instruct")
    versions = page.locator("[name=dataset_version] option")
    page.locator("[name=dataset_version]").select_option(
        label=next(text for text in versions.all_inner_texts() if text.startswith("sums"))
    )
    for group in page.locator("details.fold").all():
        if group.get_attribute("open") is None and group.locator("[name]").count():
            group.locator("summary").first.click()
    for field, value in {
        "training.max_steps": str(steps),
        "training.num_train_epochs": "",
        "training.per_device_train_batch_size": "2",
        "training.max_length": str(max_length),
        "lora.r": "4",
    }.items():
        page.locator(f"[name='{field}']").fill(value)
    page.get_by_role("button", name="Submit job").click()
    page.wait_for_url(re.compile(r"/jobs/\d+/"))
    return int(re.search(r"/jobs/(\d+)/", page.url).group(1))  # type: ignore[union-attr]


def plotted(page: Page) -> dict[str, Any]:
    answer: dict[str, Any] = page.evaluate("() => window.nibbleJob || {cursor: 0, metrics: {step: []}}")
    return answer


def wait_for_points(page: Page, number: int) -> None:
    page.wait_for_function(f"() => window.nibbleJob && window.nibbleJob.metrics.step.length >= {number}", timeout=END)


def test_the_overview_offers_the_first_adapter(page: Page):
    page.goto("/")
    expect(page.get_by_text("Train your first adapter")).to_be_visible()


def test_a_dataset_is_uploaded_and_checked(page: Page, tmp_path: Path):
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    page.goto("/datasets/")
    page.locator("input[type=file]").set_input_files(file)
    page.locator("input[name=name]").fill("sums")
    page.get_by_role("button", name="Upload and check").click()
    page.wait_for_url(re.compile(r"/datasets/\d+"))
    expect(page.get_by_text("Ready", exact=True).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("What is 0 plus 0?").first).to_be_visible()


def test_the_curve_grows_through_a_reload_and_a_restart(page: Page, nibble: Nibble, story: dict[str, Any]):
    story["job"] = job = submit(page, name="sums in pirate", steps=STEPS)
    page.goto(f"/jobs/{job}/")
    wait_for_points(page, 2)
    page.reload()
    wait_for_points(page, 3)
    nibble.program("uvicorn").kill()
    wait_until(lambda: _answers(page, job), what="the web server again", seconds=60)
    wait_for_points(page, STEPS)
    expect(page.get_by_role("link", name="Download adapter")).to_be_visible(timeout=END)


def _answers(page: Page, job: int) -> bool:
    try:
        return page.request.get(f"/jobs/{job}/series.json", timeout=2000).ok
    except Exception:  # connection refused while the server restarts
        return False


def test_no_gap_and_no_double(page: Page, story: dict[str, Any]):
    """What is plotted is what is stored, step by step."""
    page.goto(f"/jobs/{story['job']}/")
    wait_for_points(page, STEPS)
    stored = page.request.get(f"/jobs/{story['job']}/series.json").json()["metrics"]
    shown = plotted(page)["metrics"]
    trained = [step for step, loss in zip(shown["step"], shown["loss"], strict=True) if loss is not None]
    assert trained == list(range(1, STEPS + 1))
    assert (shown["step"], shown["loss"]) == (stored["step"], stored["loss"])


def test_every_change_of_state_is_told(page: Page, story: dict[str, Any]):
    page.goto(f"/jobs/{story['job']}/events/")
    for status in ("Queued", "Starting", "Running", "Succeeded"):
        expect(page.get_by_text(status, exact=True).first).to_be_visible()


def test_the_log_begins_at_the_first_second(page: Page, story: dict[str, Any]):
    log = page.request.get(f"/jobs/{story['job']}/log.txt").text()
    assert len(log.splitlines()) > 3


def test_the_adapter_is_downloaded_and_loads(page: Page, story: dict[str, Any], tmp_path: Path, example_model: Path):
    page.goto(f"/jobs/{story['job']}/")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download adapter").click()
    path = tmp_path / "adapter.zip"
    download.value.save_as(path)
    folder = tmp_path / "adapter"
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).name for name in archive.namelist()}
        assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja", "README.md"} <= names
        for member in archive.infolist():
            (folder / Path(member.filename).name).parent.mkdir(exist_ok=True)
            (folder / Path(member.filename).name).write_bytes(archive.read(member))
    _check_sums(folder)
    _load_with_peft(example_model, folder)


def _check_sums(folder: Path) -> None:
    lines = (folder / "checksums.txt").read_text().splitlines()
    assert len(lines) >= 5
    for line in lines:
        digest, name = line.split(maxsplit=1)
        assert hashlib.sha256((folder / name.lstrip("*")).read_bytes()).hexdigest() == digest, name


def _load_with_peft(base: Path, adapter: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter)
    trained = [weight for name, weight in model.named_parameters() if "lora_B" in name]
    assert len(trained) == 210  # 7 linear layers in each of 30 blocks
    assert all(weight.isfinite().all() for weight in trained)
    assert any(weight.abs().max() > 0 for weight in trained), "B starts at zero: training must have moved it"


def test_a_second_job_is_cancelled_and_its_adapter_saved(page: Page):
    job = submit(page, name="stopped half way", steps=500)
    page.goto(f"/jobs/{job}/")
    wait_for_points(page, 2)
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("button", name=re.compile("Stop and save")).click()
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible(timeout=END)
    page.goto(f"/jobs/{job}/")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download adapter").click()
    assert zipfile.is_zipfile(download.value.path())


def test_a_trainer_that_is_killed_is_tried_again(page: Page, nibble: Nibble):
    job = submit(page, name="killed", steps=500)
    page.goto(f"/jobs/{job}/")
    wait_for_points(page, 1)
    nibble.program("worker.qlora", "/runs/").kill()
    expect(page.get_by_text(re.compile("killed by signal 9", re.I)).first).to_be_visible(timeout=END)
    expect(page.get_by_text(re.compile("Attempt 2 of this job"))).to_be_visible(timeout=END)
    wait_for_points(page, 1)
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("button", name="Stop and discard").click()
    expect(page.locator("#job-head .chip")).to_have_text("Cancelled", timeout=END)


def test_a_failure_is_mended_from_its_card(page: Page):
    """Rows cut so short that no answer is left: the card offers the change, and the copy with it succeeds."""
    failed = submit(page, name="cut too short", steps=2, max_length=8)
    expect(page.locator("#job-head .chip")).to_have_text("Failed", timeout=END)
    card = page.locator(".failure")
    expect(card).to_contain_text("has a trained token left within 8 tokens")
    expect(card).to_contain_text("What to change")
    card.get_by_role("link", name=re.compile("Train on whole rows")).click()
    expect(page.locator("#fix-made")).to_contain_text("Train on whole rows instead of the assistant's words")
    page.get_by_role("button", name="Submit job").click()
    page.wait_for_url(lambda address: re.search(r"/jobs/\d+/$", address) is not None)
    expect(page.locator("#job-head .chip")).to_have_text("Succeeded", timeout=END)
    expect(page.locator("#job-head")).to_contain_text(f"from #{failed}")
