"""`python -m tests.screenshots OUT_DIR [NAME ...]`: every page in dark, light and on a phone, of a Nibble with made-up rows.

Starts its own Redis and web server on free ports with a data folder of its own, and stops them again.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.staged import Staged, staged_nibble

TALLEST = 1900  # pixels: a page of a thousand lines is not a picture


@dataclass(frozen=True)
class Shot:
    """`path` may name things of the stage in braces; `who` is one of the cast, or nobody; `wait_for` is a selector."""

    name: str
    path: str
    who: str = "alice"
    wait_for: str = "main"
    click: str = ""
    whole: bool = True
    """The page in full, not only what the window shows."""
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
    Shot("job-new-large", "/jobs/new?clone={running}", click="[name=method][value=full]"),
    Shot("job-new-preset", "/jobs/new?clone={running}", click="[data-preset=quality]"),
    Shot("job-new-wrong", "/jobs/new?clone={failed}", fill=WRONG, click="#job-form .submit"),
    Shot("job-running", "/jobs/{running}/", wait_for="#chart-loss canvas"),
    Shot("job-cancel", "/jobs/{running}/", wait_for="#chart-loss canvas", click="[data-opens=stop-job]", whole=False),
    Shot("job-queued", "/jobs/{queued}/", wait_for=LIVE),
    Shot("job-starting", "/jobs/{starting}/", wait_for=LIVE),
    Shot("job-succeeded", "/jobs/{succeeded}/", wait_for="#chart-loss canvas"),
    Shot("job-saved", "/jobs/{saved}/", wait_for="#chart-loss canvas"),
    Shot("job-failed", "/jobs/{failed}/"),
    Shot("job-diverged", "/jobs/{diverged}/", wait_for="#chart-loss canvas"),
    Shot("job-bad-data", "/jobs/{bad_data}/"),
    Shot("job-poison", "/jobs/{poison}/", wait_for="#chart-loss canvas"),
    Shot("job-retry", "/jobs/{diverged}/", click="#job-head [data-opens=retry-job]", whole=False),
    Shot("job-clone-fix", "/jobs/new?clone={failed}&fix=use-qlora"),
    Shot("job-pausing", "/jobs/{pausing}/", wait_for="#chart-loss canvas"),
    Shot("job-paused", "/jobs/{paused}/", wait_for="#chart-loss canvas"),
    Shot("job-stopping", "/jobs/{stopping}/", wait_for="#chart-loss canvas"),
    Shot("job-second-try", "/jobs/{second_try}/", wait_for="#chart-loss canvas"),
    Shot("job-lost-once", "/jobs/{lost_once}/", wait_for=LIVE),
    Shot("job-checkpoints", "/jobs/{second_try}/checkpoints/", wait_for=LIVE, click=".files-cell summary"),
    Shot("job-checkpoints-empty", "/jobs/{starting}/checkpoints/", wait_for=LIVE),
    Shot("job-events", "/jobs/{second_try}/events/", wait_for=LIVE),
    Shot("jobs-selected", "/jobs/?state=open", click="[name=job]", whole=False),
    Shot("queue", "/jobs/queue/{pool}/"),
    Shot("queue-admin", "/jobs/queue/{pool}/", who="ada"),
    Shot("job-preference", "/jobs/{preference}/", wait_for="#measure-accuracies canvas"),
    Shot("job-twin", "/jobs/{pair_qlora}/", wait_for="#chart-loss canvas"),
    Shot("compare", "/compare/?jobs={pair_lora},{pair_qlora}", wait_for="#curve-loss canvas"),
    Shot("compare-live", "/compare/?jobs={half_lora},{half_qlora}&by=time&log=1", wait_for="#curve-loss canvas"),
    Shot(
        "compare-six",
        "/compare/?jobs={pair_lora},{pair_qlora},{running},{preference},{queued},{succeeded}",
        wait_for="#curve-loss canvas",
    ),
    Shot("compare-empty", "/compare/", who="charlie"),
    Shot("compare-choose", "/compare/"),
    Shot("job-logs", "/jobs/{running}/logs/", wait_for="#log-lines li"),
    Shot("job-config", "/jobs/{running}/config/"),
    Shot("datasets", "/datasets/"),
    Shot("datasets-empty", "/datasets/", who="charlie"),
    Shot("datasets-hub", "/datasets/?from=hub", click="summary"),
    Shot("datasets-address", "/datasets/?from=https"),
    Shot("datasets-s3", "/datasets/?from=s3"),
    Shot("dataset-fetching", "/datasets/{fetching}/"),
    Shot("dataset-unfetched", "/datasets/{unfetched}/"),
    Shot("dataset", "/datasets/{dataset}/"),
    Shot("dataset-tools", "/datasets/{tools}/?row=2"),
    Shot("dataset-search", "/datasets/{tools}/?q=coat"),
    Shot("dataset-pairs", "/datasets/{judged}/"),
    Shot("dataset-reading", "/datasets/{reading}/"),
    Shot("dataset-problems", "/datasets/{broken}/problems/"),
    Shot("dataset-statistics", "/datasets/{dataset}/statistics/", wait_for=".batch small"),
    Shot("dataset-statistics-none", "/datasets/{broken}/statistics/"),
    Shot("dataset-tokens", "/datasets/{dataset}/as-the-model-sees-it/"),
    Shot("dataset-problem-kinds", "/datasets/{tools}/problems/"),
    Shot("dataset-versions", "/datasets/{faq}/versions/", click="#derive details:first-of-type summary"),
    Shot("dataset-changes", "/datasets/{faq}/versions/5/changes/?against=2"),
    Shot("dataset-unsure", "/datasets/{unsure}/"),
    Shot("dataset-mapping", "/datasets/{unsure}/versions/1/mapping/"),
    Shot(
        "dataset-mapping-chosen",
        "/datasets/{unsure}/versions/1/mapping/?shape=alpaca&was=alpaca&column-instruction=frage&column-output=antwort&system=Be+brief.",
    ),
    Shot("models", "/models/"),
    Shot("model", "/models/{model}/"),
    Shot("model-add", "/models/add/", who="ada"),
    Shot("adapters", "/adapters/"),
    Shot("adapters-empty", "/adapters/", who="charlie"),
    Shot("adapter", "/adapters/{adapter}/"),
    Shot("pools", "/pools/", who="ada"),
    Shot("pool-settings", "/pools/{pool}/settings/", who="ada"),
    Shot("users", "/users/", who="ada"),
    Shot("user-limits", "/users/", who="ada", click="[data-opens^=limits-]", whole=False),
    Shot("settings", "/settings/", who="ada"),
    Shot("settings-clean", "/settings/", who="ada", click="[data-opens=clean-now]", whole=False),
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
    with staged_nibble() as stage, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=QUIET)
        bad = [line for look in LOOKS for shot in wanted for line in take(browser, stage, shot, look, out)]
        browser.close()
    print(f"{len(wanted) * len(LOOKS)} pictures in {out}", *bad, sep="\n")  # noqa: T201
    sys.exit(1 if bad else 0)


QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "No Chromium on PATH. Debian, Ubuntu: apt install chromium"
    return found


def take(browser: Browser, stage: Staged, shot: Shot, look: str, out: Path) -> list[str]:
    """Saves one picture; returns what is wrong with the page: errors, a status, a page wider than its window."""
    context = browser.new_context(**LOOKS[look], base_url=stage.url)
    if shot.who:
        context.add_cookies([{"name": "nibble_session", "value": stage.sessions[shot.who], "url": stage.url}])
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(f"{error}"))
    page.on(
        "console",
        lambda message: wrong.append(message.text) if message.type == "error" and "(Unprocessable" not in message.text else None,
    )
    reply = page.goto(shot.path.format(**stage.things))
    if reply is None or reply.status not in (200, 422):
        wrong.append(f"answered {reply and reply.status}")
    else:
        photograph(page, shot, out / f"{shot.name}-{look}.jpg", wrong)
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
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, TALLEST)}
    # JPEG at 82: a third of PNG's size, and nothing that an eye would miss.
    kind: dict[str, Any] = {"path": path, "type": "jpeg", "quality": 82}
    page.screenshot(**kind, full_page=True, clip=clip) if shot.whole else page.screenshot(**kind)


if __name__ == "__main__":
    main()
