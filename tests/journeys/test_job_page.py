"""The job page in a real browser, live: its worker speaks through the door, and the page must say what the store says.

The tests of this file are one story and run in their order. Nothing trains here; test_main_job.py does.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.staged import Staged, staged_nibble

pytestmark = pytest.mark.journey

STORED = 1285


class Voice:
    """The running job's worker, as far as the page can tell."""

    def __init__(self, stage: Staged) -> None:
        self.stage, self.seq = stage, stage.attempt["last_seq"]

    def says(self, *events: dict[str, Any]) -> dict[str, Any]:
        told = [{"at": datetime.now(UTC).isoformat(), **event} for event in events]
        order = self._post("events", {"fence": self.stage.attempt["fence"], "first_seq": self.seq + 1, "events": told})
        self.seq += len(events)
        assert order["acked_seq"] == self.seq
        return order

    def stops(self) -> None:
        end = {"outcome": "stopped_discarded"}
        self._post("finish", {"fence": self.stage.attempt["fence"], "last_seq": self.seq, "end": end})

    def _post(self, what: str, message: dict[str, Any]) -> dict[str, Any]:
        address = f"{self.stage.url}/worker/v1/attempts/{self.stage.attempt['id']}/{what}"
        headers = {"Authorization": f"Bearer {self.stage.attempt['token']}", "Content-Type": "application/json"}
        with urlopen(Request(address, json.dumps(message).encode(), headers), timeout=20) as reply:
            answer: dict[str, Any] = json.load(reply)
            return answer


def point(step: int, loss: float) -> dict[str, Any]:
    return {"kind": "metrics", "step": step, "epoch": 3 * step / 2000, "loss": loss, "seconds_left": 60.0}


def plan(**more: Any) -> dict[str, Any]:
    known = {"train_rows": 4800, "eval_rows": 0, "train_tokens": 9, "trained_tokens": 9, "cut_rows": 0, "effective_batch": 16}
    about = {
        "trainable_parameters": 1,
        "parameters": 1,
        "target_modules": [],
        "mask": "all",
        "device": "GPU",
        "optim": "sgd",
        "versions": {},
    }
    return {"kind": "plan", "max_steps": 2000, "epochs": 3, **known, **about, **more}


def line(text: str, level: str = "info") -> dict[str, Any]:
    return {"kind": "log", "text": text, "level": level}


@pytest.fixture(scope="module")
def stage() -> Iterator[Staged]:
    with staged_nibble() as staged:
        yield staged


@pytest.fixture(scope="module")
def voice(stage: Staged) -> Voice:
    return Voice(stage)


@pytest.fixture(scope="module")
def page(stage: Staged, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(base_url=stage.url)
    context.add_cookies([{"name": "nibble_session", "value": stage.sessions["alice"], "url": stage.url}])
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(20_000)
    page.goto(f"/jobs/{stage.things['running']}/")
    yield page
    context.close()
    assert errors == []


def shows_step(page: Page, step: int) -> None:
    page.wait_for_function(f"() => window.nibbleJob?.metrics.step.at(-1) === {step}")


def says_what_is_stored(page: Page, stage: Staged) -> None:
    stored = page.request.get(f"/jobs/{stage.things['running']}/series.json").json()
    shown = page.evaluate("() => window.nibbleJob")
    assert shown["cursor"] == stored["cursor"]
    assert shown["metrics"] == stored["metrics"]


def test_stored_points_are_drawn(page: Page, stage: Staged):
    expect(page.locator("#chart-loss canvas")).to_be_visible()
    expect(page.locator("#chart-memory canvas")).to_be_visible()
    shows_step(page, STORED)
    says_what_is_stored(page, stage)
    expect(page.locator("#live")).to_have_attribute("data-state", "live")


def test_a_new_point_arrives_without_a_reload(page: Page, stage: Staged, voice: Voice):
    voice.says(
        point(STORED + 1, 0.5), line("a fresh line"), {"kind": "memory", "step": STORED + 1, "rss_bytes": 1, "cuda_peak_bytes": 2}
    )
    shows_step(page, STORED + 1)
    says_what_is_stored(page, stage)
    expect(page.locator("[data-live=step]")).to_have_text("1,286")
    expect(page.locator("[data-live=loss]")).to_have_text("0.500")
    expect(page.locator("[data-live=seconds_left]")).to_have_text("1 min 00 s")
    expect(page.locator("#log-lines li").last).to_contain_text("a fresh line")


def test_a_repeated_step_replaces_the_earlier_one(page: Page, stage: Staged, voice: Voice):
    voice.says(point(STORED, 9.5), point(STORED + 2, 0.25))
    shows_step(page, STORED + 2)
    metrics = page.evaluate("() => window.nibbleJob.metrics")
    assert metrics["step"].count(STORED) == 1
    assert metrics["loss"][metrics["step"].index(STORED)] == 9.5
    says_what_is_stored(page, stage)


def test_a_later_attempt_wins_while_one_watches(page: Page, stage: Staged, voice: Voice):
    """A trainer that goes on from a checkpoint tells the steps after it anew: the old points go, and a line marks the place."""
    voice.says(plan(resumed_from_step=STORED - 5))
    shows_step(page, STORED - 5)
    voice.says(*(point(step, 0.4) for step in range(STORED - 4, STORED + 3)))
    shows_step(page, STORED + 2)
    says_what_is_stored(page, stage)
    assert page.evaluate("() => window.nibbleJob.marks.map(({ step, label }) => [step, label])") == [[STORED - 5, "goes on"]]
    expect(page.locator("#mark-key")).to_be_visible()


def test_a_smaller_plan_shows_without_a_reload(page: Page, voice: Voice):
    before = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "activation_checkpointing": True}
    after = {**before, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}
    why = "CUDA ran out of memory at step 12"
    voice.says({"kind": "replanned", "before": before, "after": after, "from_step": STORED - 5, "why": why})
    expect(page.locator("#job-changes")).to_contain_text("2 rows a pass and 8 passes a step instead of 4 and 4")


def test_a_new_measure_gets_its_chart_without_a_reload(page: Page, stage: Staged, voice: Voice):
    expect(page.locator("#measures")).to_be_hidden()
    voice.says({**point(STORED + 2, 0.4), "measures": {"rewards/accuracies": 0.75}})
    expect(page.locator("#measure-accuracies canvas")).to_be_visible()
    expect(page.locator("#measures")).to_contain_text("A half is chance")
    says_what_is_stored(page, stage)


def test_a_new_estimate_shows_without_a_reload(page: Page, voice: Voice):
    expect(page.locator("#job-memory")).to_contain_text("told no estimate")  # of the attempt that went on
    voice.says(plan(resumed_from_step=STORED + 2, memory_parts={"linear_weights": 6 * 2**30, "activations": 15 * 2**30}))
    expect(page.locator("#memory-legend")).to_contain_text("estimated peak")
    expect(page.locator("#job-memory")).to_contain_text("Estimated 21.0 GiB. Not measured yet")
    voice.says({"kind": "memory", "step": STORED + 2, "rss_bytes": 1, "cuda_allocated_bytes": 1, "cuda_peak_bytes": 20 * 2**30})
    expect(page.locator("#job-memory")).to_contain_text("The estimate is 5 % too high so far.")


def test_the_log_stays_where_one_reads(page: Page, voice: Voice):
    log = page.locator("#log")
    log.evaluate("node => { node.scrollTop = 40; }")
    expect(page.locator("#log-follow")).to_be_visible()
    voice.says(line("while you read", "warning"))
    expect(page.locator("#log-lines li.warning")).to_have_count(1)
    assert log.evaluate("node => node.scrollTop") == 40
    page.locator("#log-follow").click()
    expect(page.locator("#log-follow")).to_be_hidden()
    assert log.evaluate("node => node.scrollHeight - node.scrollTop - node.clientHeight") < 2


def test_a_restarted_server_leaves_no_gap_and_no_double(page: Page, stage: Staged, voice: Voice):
    stage.server.stop()
    expect(page.locator("#live")).to_have_attribute("data-state", "reconnecting")
    stage.server.start()
    voice.says(point(STORED + 3, 0.2), line("after the restart"))
    shows_step(page, STORED + 3)
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.get_by_text("after the restart")).to_have_count(1)
    says_what_is_stored(page, stage)


def test_the_question_before_stopping_can_be_left(page: Page, voice: Voice):
    page.get_by_role("button", name="Stop…").click()
    voice.says({"kind": "notice", "text": "The page is redrawn under the open question."})
    page.get_by_role("button", name="Keep running").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert voice.says(point(STORED + 4, 0.19))["order"] == "continue"


def test_stop_and_save_reaches_the_worker(page: Page, voice: Voice):
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("button", name="Stop and save").click()
    expect(page.get_by_text("Stopping", exact=True)).to_be_visible()
    assert voice.says(line("stopping"))["order"] == "stop_and_save"


def test_the_end_shows_without_a_reload(page: Page, voice: Voice):
    page.evaluate("() => { window.sameDocument = true; }")
    voice.stops()
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible()
    expect(page.locator("#live")).to_have_count(0)
    assert page.evaluate("() => window.sameDocument") is True


def test_events_say_who_asked(page: Page, stage: Staged):
    page.goto(f"/jobs/{stage.things['running']}/events/")
    expect(page.get_by_text("Alice asked to stop and save the adapter.")).to_be_visible()


def test_signing_out_elsewhere_ends_the_page(page: Page, stage: Staged, browser: Browser):
    context = browser.new_context(base_url=stage.url)
    context.add_cookies([{"name": "nibble_session", "value": stage.sessions["bob"], "url": stage.url}])
    watching, other = context.new_page(), context.new_page()
    watching.goto(f"/jobs/{stage.things['other']}/")
    expect(watching.locator("#live")).to_have_attribute("data-state", "live")
    other.goto("/")
    other.get_by_role("button", name="Your account").click()
    other.get_by_role("button", name="Sign out").click()
    watching.wait_for_url("**/sign-in/**")
    context.close()


def test_a_phone_reaches_every_page(stage: Staged, browser: Browser):
    context = browser.new_context(base_url=stage.url, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    context.add_cookies([{"name": "nibble_session", "value": stage.sessions["ada"], "url": stage.url}])
    page = context.new_page()
    page.goto("/")
    page.get_by_role("button", name="Menu").click()
    page.locator("#main-menu").get_by_role("link", name="Jobs").click()
    page.wait_for_url("**/jobs/")
    page.get_by_role("button", name="Menu").click()
    expect(page.locator("#main-menu").get_by_role("link", name="Users & teams")).to_be_visible()
    context.close()


def test_the_chosen_theme_is_remembered(stage: Staged, browser: Browser):
    context = browser.new_context(base_url=stage.url, color_scheme="light")
    page = context.new_page()
    context.add_cookies([{"name": "nibble_session", "value": stage.sessions["ada"], "url": stage.url}])
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    page.get_by_role("button", name="Switch between dark and light").click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    context.close()
