"""A browser for the journeys: Debian's Chromium, headless, quiet."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.running import Nibble, running_nibble

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
PASSWORD = "a long enough password"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "No Chromium on PATH. Debian, Ubuntu: apt install chromium"
    return {**browser_type_launch_args, "executable_path": chromium, "args": QUIET}


@pytest.fixture(scope="module")
def nibble(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, example_model: Path) -> Iterator[Nibble]:
    """With the trainer that the file's TRAINER names; the real one where it names none."""
    trainer = getattr(request.module, "TRAINER", "")
    environment = {"NIBBLE_TRAINER_MODULE": trainer} if trainer else {}
    with running_nibble(tmp_path_factory.mktemp("nibble"), example_model=example_model, **environment) as running:
        yield running


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    """What later chapters need of earlier ones."""
    return {}


@pytest.fixture(scope="module")
def page(nibble: Nibble, browser: Browser) -> Iterator[Page]:
    """One browser for the whole journey, signed in by the printed link. An error on any page fails the journey."""
    context = browser.new_context(base_url=nibble.url, accept_downloads=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(30_000)
    page.goto(nibble.sign_in_link)
    page.get_by_role("button", name="Sign in").click()
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("[name=again]").fill(PASSWORD)
    page.get_by_role("button", name="Set password").click()
    page.wait_for_url(f"{nibble.url}/")
    yield page
    context.close()
    assert errors == []
