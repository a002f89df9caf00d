"""What each kind of source needs to become files in TASK_DIR/files/."""

import re
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote

from worker.contract.fetching import FetchedFile, FetchReport, FetchSecrets, FetchTask, HubDataset, S3Object, Split, WebAddress
from worker.fetching import object_store
from worker.fetching.addresses import parse
from worker.fetching.allowance import Allowance
from worker.fetching.download import Arrived, Download, Downloader
from worker.fetching.failures import FetchFailed
from worker.fetching.guard import Guard
from worker.fetching.hub import CONVERTED, Hub, Repository
from worker.fetching.hub_files import Chosen, choose
from worker.fetching.web import Answer, Web, raise_for

Expect = Callable[[int | None], None]


class Bringing:
    """One task's work, with everything it needs."""

    def __init__(
        self, task: FetchTask, *, secrets: FetchSecrets, folder: Path, guard: Guard, told: Callable[[int], None], expect: Expect
    ) -> None:
        self._task, self._secrets, self._folder, self._expect = task, secrets, folder, expect
        self._web = Web(guard, silence_seconds=min(task.stall_seconds, 60.0))
        files = folder / "files"
        files.mkdir(exist_ok=True)
        self._allowance = Allowance(task.limit_bytes, folder=files, keep_free_bytes=task.keep_free_bytes, told=told)
        self._downloader = Downloader(self._web, allowance=self._allowance, stall_seconds=task.stall_seconds)

    def bring(self) -> FetchReport:
        try:
            match self._task.source:
                case WebAddress() as source:
                    return self._web_address(source)
                case S3Object() as source:
                    return self._object(source)
                case HubDataset() as source:
                    return self._hub(source)
        finally:
            self._web.close()

    def _web_address(self, source: WebAddress) -> FetchReport:
        address = parse(source.address).with_query(self._secrets.query)
        arrived = self._fetch(0, Download(address, self._path(0), check=self._is_data))
        return FetchReport(files=(self._file(0, arrived, name=_name_of(arrived, path=address.path)),))

    def _is_data(self, answer: Answer) -> None:
        raise_for(answer)
        if answer.headers.get("content-type", "").partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
            fix = "Give the address of the file itself, the one behind “Download” or “Raw”."
            raise FetchFailed("not_data", f"{answer.address.shown} is a web page, not a file of rows.", fix=fix)
        self._expect_all_of(answer)

    def _expect_all_of(self, answer: Answer) -> None:
        """A part that is gone on with announces only the rest."""
        if answer.status == 200:
            self._expect(answer.number("content-length"))

    def _object(self, source: S3Object) -> FetchReport:
        def check(answer: Answer) -> None:
            object_store.check(answer)
            self._expect_all_of(answer)

        sign = object_store.signer(source, secrets=self._secrets)
        download = Download(object_store.address_of(source), self._path(0), sign=sign, check=check, follows=False)
        return FetchReport(files=(self._file(0, self._fetch(0, download), name=source.key.rpartition("/")[2] or source.key),))

    def _hub(self, source: HubDataset) -> FetchReport:
        hub = Hub(self._web, source, token=self._secrets.hub_token)
        repository, chosen = _find(hub, source)
        sizes = [each.file.size_bytes for each in chosen]
        total = sum(size for size in sizes if size) if all(size is not None for size in sizes) else None
        self._expect(total)
        self._allowance.announce(total)
        files = [self._hub_file(hub, each, number=number, commit=repository.commit) for number, each in enumerate(chosen)]
        return FetchReport(files=tuple(files), commit=repository.commit)

    def _hub_file(self, hub: Hub, chosen: Chosen, *, number: int, commit: str) -> FetchedFile:
        address = hub.file(chosen.file.path, commit=commit)
        arrived = self._fetch(number, Download(address, self._path(number), sign=hub.sign, check=hub.check))
        if chosen.file.sha256 not in ("", arrived.sha256):
            raise FetchFailed("changed", f"{chosen.file.path} did not arrive as the Hub has it: another SHA-256.", fix="Try again.")
        return self._file(number, arrived, name=chosen.file.path, split=chosen.split)

    def _fetch(self, number: int, download: Download) -> Arrived:
        arrived = self._downloader.fetch(download)
        if not arrived.size_bytes and number == 0:
            raise FetchFailed("not_data", f"{download.address.shown} is empty.")
        return arrived

    def _path(self, number: int) -> Path:
        return self._folder / "files" / str(number)

    def _file(self, number: int, arrived: Arrived, *, name: str, split: Split = "train") -> FetchedFile:
        return FetchedFile(
            path=f"files/{number}", name=name[:1024] or "data", size_bytes=arrived.size_bytes, sha256=arrived.sha256, split=split
        )


def _find(hub: Hub, source: HubDataset) -> tuple[Repository, list[Chosen]]:
    """A repository that only holds a script has its rows on the Hub's own branch."""
    repository = hub.repository(source.revision)
    try:
        return repository, choose(repository, source)
    except FetchFailed as failed:
        if source.revision or source.files or failed.failure.kind != "not_data":
            raise
        try:
            converted = hub.repository(CONVERTED)
        except FetchFailed:
            raise failed from None
        return converted, choose(converted, source.model_copy(update={"revision": CONVERTED}))


def _name_of(arrived: Arrived, *, path: str) -> str:
    """What the server calls the file, else the end of the address."""
    header = EmailMessage()
    said = re.sub(r"[^\x20-\x7e]", "", arrived.headers.get("content-disposition", ""))[:1000]
    if said:
        header["content-disposition"] = said
    return header.get_filename() or unquote(path.rstrip("/").rpartition("/")[2])
