"""Dropping files in a real browser: progress, pause, a cut line, a reload in the middle, and one dataset of both files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.faults.cut_proxy import CutProxy
from tests.waiting import wait_until
from tests.webapp.datasets.tus_server import Server, serving

pytestmark = pytest.mark.journey
LARGE_BYTES = 12 * 2**20
SLOW_SECONDS = 0.03  # for 64 KiB: two MiB a second
FILES = """
import json
from webapp.datasets.models import DatasetVersion, Upload
version = DatasetVersion.objects.exclude(dataset__name="greetings").get()
files = [(file.name, file.size_bytes, str(file.path)) for file in version.files.all()]
print(json.dumps([version.dataset.name, version.state, version.rows, Upload.objects.count(), files]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("uploads"), NIBBLE_MAX_DATASET_BYTES=str(14 * 2**20)) as running:
        yield running


@pytest.fixture
def cable(server: Server) -> Iterator[CutProxy]:
    """Between the browser and the server."""
    proxy = CutProxy(int(server.url.rpartition(":")[2]))
    yield proxy
    proxy.close()


@pytest.fixture
def page(server: Server, cable: CutProxy, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(base_url=cable.url)
    context.add_cookies([{"name": "nibble_session", "value": server.sessions["alice"], "url": cable.url}])
    page, errors = context.new_page(), list[str]()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(20_000)
    yield page
    context.close()
    assert errors == []


def rows(path: Path, *, about: int) -> Path:
    """JSONL of chats with about so many bytes."""
    with path.open("w") as file:
        number = 0
        while file.tell() < about:
            turns = [
                {"role": "user", "content": f"Question {number}?"},
                {"role": "assistant", "content": f"Answer {number}. " * 60},
            ]
            file.write(json.dumps({"messages": turns}) + "\n")
            number += 1
    return path


def arrived(server: Server) -> int:
    """Bytes of the largest upload."""
    return max((file.stat().st_size for file in server.files), default=0)


def test_two_files_a_cut_line_and_a_reload(server: Server, page: Page, cable: CutProxy, tmp_path: Path) -> None:
    small, large = rows(tmp_path / "small.jsonl", about=20_000), rows(tmp_path / "large.jsonl", about=LARGE_BYTES)
    offsets: list[int] = []
    page.on("request", lambda each: offsets.append(int(each.headers["upload-offset"])) if each.method == "PATCH" else None)
    page.goto("/datasets/")
    cable.delay(SLOW_SECONDS)
    page.locator("input[type=file]").set_input_files([large, small])

    # One is paused and goes on, the other has arrived meanwhile.
    wait_until(lambda: arrived(server) > 2 * 2**20, what="the first bytes")
    sending = page.locator("[data-files] li", has_text="large.jsonl")
    expect(sending.locator("[data-text]")).to_contain_text("MiB of 12")
    sending.get_by_role("button", name="Pause").click()
    expect(sending.locator("[data-text]")).to_contain_text("Paused")
    expect(page.locator("[data-files] li", has_text="small.jsonl").locator("[data-text]")).to_contain_text("arrived")
    sending.get_by_role("button", name="Resume").click()
    before = arrived(server)
    wait_until(lambda: arrived(server) > before, what="bytes after the pause")

    # The line is cut in the middle, and the page is loaded anew.
    cable.refuse()
    expect(sending.locator("[data-text]")).to_contain_text("The connection broke")
    cable.mend()
    page.reload()
    cable.delay(SLOW_SECONDS)
    earlier = page.locator("[data-earlier]")
    expect(earlier).to_have_count(2)
    expect(page.locator("[data-earlier]", has_text="large.jsonl")).to_contain_text("Choose the same file again to go on")
    page.locator("[data-earlier]", has_text="small.jsonl").get_by_label("Use it").check()

    # The same file goes on where it was.
    came = arrived(server)
    offsets.clear()
    page.locator("input[type=file]").set_input_files(large)
    expect(page.locator("[data-files] li", has_text="large.jsonl").locator("[data-text]")).to_contain_text("of 12")
    expect(earlier).to_have_count(1)
    page.locator("input[name=name]").fill("both")
    page.get_by_role("button", name="Upload and check").click()
    cable.mend()
    page.wait_for_url(re.compile(r"/datasets/\d+/$"))
    assert len(offsets) == 1
    assert came <= offsets[0] + 2**20
    assert offsets[0] >= 2 * 2**20
    name, state, count, left, files = json.loads(server.python(FILES))
    assert (name, state, left) == ("both", "ready", 0)
    assert count == sum(len(path.read_text().splitlines()) for path in (small, large))
    assert {name: Path(path).read_bytes() for name, _, path in files} == {path.name: path.read_bytes() for path in (small, large)}
    assert server.files == []


def test_a_name_that_is_taken_costs_no_second_upload(server: Server, page: Page, tmp_path: Path) -> None:
    page.goto("/datasets/")
    page.locator("input[type=file]").set_input_files(rows(tmp_path / "again.jsonl", about=20_000))
    page.locator("input[name=name]").fill("greetings")
    page.get_by_role("button", name="Upload and check").click()
    expect(page.get_by_role("alert")).to_contain_text("has a dataset named")
    expect(page.locator("[data-earlier]", has_text="again.jsonl").get_by_label("Use it")).to_be_checked()
    page.locator("input[name=name]").fill("again")
    page.get_by_role("button", name="Upload and check").click()
    page.wait_for_url(re.compile(r"/datasets/\d+/$"))


def test_what_is_no_dataset_or_too_large_is_said_and_removed(server: Server, page: Page, tmp_path: Path) -> None:
    picture, huge = tmp_path / "<b>picture.jsonl", tmp_path / "huge.jsonl"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    huge.write_bytes(bytes(15 * 2**20))
    page.goto("/datasets/")
    page.locator("input[type=file]").set_input_files([picture, huge])
    expect(page.locator("[data-files] li", has_text="huge.jsonl")).to_contain_text("up to 14.0 MiB are taken")
    page.get_by_role("button", name="Upload and check").click()
    expect(page.locator("[data-word]")).to_contain_text("Remove the files that were refused")
    page.locator("[data-files] li", has_text="huge.jsonl").get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Upload and check").click()
    expect(page.get_by_text("Nothing was stored.")).to_be_visible()
    assert server.files == []


def test_an_earlier_upload_is_discarded(server: Server, page: Page, tmp_path: Path) -> None:
    where = server.sender().begun(5, name="old.jsonl")
    page.goto("/datasets/")
    page.locator("[data-earlier]", has_text="old.jsonl").get_by_role("button", name="Discard").click()
    expect(page.locator("[data-earlier]")).to_have_count(0)
    assert server.sender().http.head(where).status_code == 404
