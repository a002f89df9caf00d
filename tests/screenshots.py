"""`python -m tests.screenshots OUT_DIR [NAME ...]`: every page in dark, light and on a phone, of a Nibble with made-up rows.

Starts its own Redis and web server on free ports with a data folder of its own, and stops them again.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from playwright.sync_api import Browser, Page, sync_playwright

from tests.servers import free_port, redis_server
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.stage import Stage

ROOT = Path(__file__).resolve().parent.parent
TALLEST = 2600  # pixels: a page of a thousand lines is not a picture


@dataclass(frozen=True)
class Shot:
    """`path` may name things of the stage in braces; `who` is one of the cast, or nobody; `wait_for` is a selector."""

    name: str
    path: str
    who: str = "alice"
    wait_for: str = "main"
    click: str = ""
    fill: tuple[tuple[str, str], ...] = ()


LIVE = "#live[data-state=live]"
WRONG = (("name", ""), ("lora.r", "0"), ("optimizer.learning_rate", "abc"), ("training.num_train_epochs", ""))
SHOTS = (
    Shot("overview", "/"),
    Shot("overview-empty", "/", who="charlie"),
    Shot("jobs", "/jobs/"),
    Shot("jobs-admin", "/jobs/", who="ada"),
    Shot("jobs-empty", "/jobs/", who="charlie"),
    Shot("job-new", "/jobs/new?example=1"),
    Shot("job-new-wrong", "/jobs/new?clone={failed}", fill=WRONG, click="#job-form .submit"),
    Shot("job-running", "/jobs/{running}/", wait_for="#chart-loss canvas"),
    Shot("job-cancel", "/jobs/{running}/", wait_for="#chart-loss canvas", click="[data-opens=stop-job]"),
    Shot("job-queued", "/jobs/{queued}/", wait_for=LIVE),
    Shot("job-starting", "/jobs/{starting}/", wait_for=LIVE),
    Shot("job-succeeded", "/jobs/{succeeded}/", wait_for="#chart-loss canvas"),
    Shot("job-saved", "/jobs/{saved}/", wait_for="#chart-loss canvas"),
    Shot("job-failed", "/jobs/{failed}/", wait_for="#chart-loss canvas"),
    Shot("job-events", "/jobs/{running}/events/", wait_for=LIVE),
    Shot("job-logs", "/jobs/{running}/logs/", wait_for="#log-lines li"),
    Shot("job-config", "/jobs/{running}/config/"),
    Shot("datasets", "/datasets/"),
    Shot("datasets-empty", "/datasets/", who="charlie"),
    Shot("dataset", "/datasets/{dataset}/"),
    Shot("dataset-versions", "/datasets/{dataset}/versions/"),
    Shot("models", "/models/"),
    Shot("model", "/models/{model}/"),
    Shot("model-add", "/models/add/", who="ada"),
    Shot("adapters", "/adapters/"),
    Shot("adapters-empty", "/adapters/", who="charlie"),
    Shot("adapter", "/adapters/{adapter}/"),
    Shot("pools", "/pools/", who="ada"),
    Shot("users", "/users/", who="ada"),
    Shot("account", "/account/"),
    Shot("sign-in", "/sign-in/", who=""),
)
LOOKS: dict[str, dict[str, Any]] = {
    "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "light": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "is_mobile": True, "has_touch": True},
}


def main() -> None:
    out, names = Path(sys.argv[1]), set(sys.argv[2:])
    out.mkdir(parents=True, exist_ok=True)
    wanted = [shot for shot in SHOTS if not names or shot.name in names]
    with staged_nibble() as (url, stage), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=QUIET)
        bad = [line for look in LOOKS for shot in wanted for line in take(browser, url, stage, shot, look, out)]
        browser.close()
    print(f"{len(wanted) * len(LOOKS)} pictures in {out}", *bad, sep="\n")  # noqa: T201
    sys.exit(1 if bad else 0)


QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


def chromium() -> str:
    from shutil import which

    found = which("chromium") or which("chromium-browser") or which("google-chrome")
    assert found, "No Chromium on PATH. Debian, Ubuntu: apt install chromium"
    return found


@contextmanager
def staged_nibble(**options: Any) -> Iterator[tuple[str, "Stage"]]:
    """(address, what stands on the stage) of a web server with its own database and Redis."""
    with tempfile.TemporaryDirectory(prefix="nibble-look-") as data, redis_server() as redis:
        os.environ |= {
            "NIBBLE_DATA": data,
            "REDIS_URL": redis,
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
            "NIBBLE_LOG_LEVEL": "WARNING",
        }
        os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's own loop runs in this thread
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        from tests.stage import set_the_stage

        stage = set_the_stage(**options)
        with web_server() as url:
            yield url, stage


@contextmanager
def web_server() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "webapp.asgi:application", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ.copy())
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url), what="the web server", alive=lambda: process.poll() is None)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/sign-in/", timeout=5) as reply:  # http of our own making
            return bool(reply.status == 200)
    except OSError:
        return False


def session_of(user: Any) -> str:
    """A signed-in session without the form: a picture is not a test of signing in."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    session = SessionStore()
    backend = "django.contrib.auth.backends.ModelBackend"
    session.update({SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: backend, HASH_SESSION_KEY: user.get_session_auth_hash()})
    session.create()
    assert session.session_key
    return session.session_key


def things(stage: "Stage") -> dict[str, int]:
    """What the paths may name."""
    succeeded = stage.jobs["succeeded"]
    known = {name: job.pk for name, job in stage.jobs.items()}
    return {**known, "dataset": stage.cast.version.dataset_id, "model": stage.cast.base_model.pk, "adapter": succeeded.adapter.pk}


def take(browser: Browser, url: str, stage: "Stage", shot: Shot, look: str, out: Path) -> list[str]:
    """Saves one picture; returns what is wrong with the page: errors, a status, a page wider than its window."""
    context = browser.new_context(**LOOKS[look], base_url=url)
    if shot.who:
        context.add_cookies([{"name": "nibble_session", "value": session_of(getattr(stage.cast, shot.who)), "url": url}])
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(f"{error}"))
    page.on(
        "console",
        lambda message: wrong.append(message.text) if message.type == "error" and "(Unprocessable" not in message.text else None,
    )
    reply = page.goto(shot.path.format(**things(stage)))
    if reply is None or reply.status not in (200, 422):
        wrong.append(f"answered {reply and reply.status}")
    else:
        photograph(page, shot, out / f"{shot.name}-{look}.png", wrong)
    context.close()
    return [f"{shot.name} ({look}): {line}" for line in wrong]


def photograph(page: Page, shot: Shot, path: Path, wrong: list[str]) -> None:
    try:
        page.wait_for_selector(shot.wait_for, state="attached", timeout=10_000)
        for name, value in shot.fill:
            page.fill(f"[name='{name}']", value)
        if shot.click:
            page.click(shot.click)
            page.wait_for_load_state()
    except Exception as error:  # the picture shows what was there instead
        wrong.append(str(error).splitlines()[0])
    page.wait_for_load_state("networkidle") if not shot.path.startswith("/jobs/{") else page.wait_for_timeout(400)
    page.evaluate("() => document.fonts.ready")
    wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        wrong.append(f"is {wide} px wider than the window")
    width, height = page.evaluate("() => [innerWidth, document.documentElement.scrollHeight]")
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": min(height, TALLEST)})


if __name__ == "__main__":
    main()
