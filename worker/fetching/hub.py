"""A dataset of the Hugging Face Hub, through its HTTP interface: what is in the repository, and where each file lies."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from worker.contract.fetching import HubDataset
from worker.fetching.addresses import Address, parse
from worker.fetching.failures import FetchFailed
from worker.fetching.web import Answer, Headers, Sign, Web, no_secret, patiently, raise_for

LISTING_BYTES = 64 * 2**20
CONVERTED = "refs/convert/parquet"
"""The branch on which the Hub keeps a Parquet copy of most datasets."""


@dataclass(frozen=True)
class HubFile:
    path: str
    size_bytes: int | None = None
    sha256: str = ""
    """Of large files: the Hub knows it."""


@dataclass(frozen=True)
class Repository:
    commit: str
    files: tuple[HubFile, ...]
    card: dict[str, Any]


class Hub:
    def __init__(self, web: Web, source: HubDataset, *, token: str) -> None:
        self._web, self._source, self._has_token = web, source, bool(token)
        self.sign: Sign = _bearer(token) if token else no_secret

    def repository(self, revision: str) -> Repository:
        return patiently(lambda: self._listing(revision))

    def _listing(self, revision: str) -> Repository:
        address = self._address(f"/api/datasets/{self._source.name}/revision/{quote(revision or 'main', safe='')}", "blobs=true")
        with self._web.get(address, headers={"Accept": "application/json"}, sign=self.sign) as answer:
            self.check(answer)
            return _repository(_json(answer))

    def file(self, path: str, *, commit: str) -> Address:
        return self._address(f"/datasets/{self._source.name}/resolve/{quote(commit, safe='')}/{quote(path)}")

    def check(self, answer: Answer) -> None:
        code, name = answer.headers.get("x-error-code", ""), self._source.name
        if answer.status in (401, 403, 404) and code == "GatedRepo":
            fix = f"Open {name} on the Hub, accept its conditions, and set your token under Account."
            raise FetchFailed("refused", f"{name} is only for those who accepted its conditions on the Hub.", fix=fix)
        if code == "RevisionNotFound":
            raise FetchFailed(
                "not_found", f"{name} has no revision “{self._source.revision}”.", fix="Leave it empty for the main one."
            )
        if code == "EntryNotFound":
            raise FetchFailed(
                "not_found", f"{name} has no file {answer.address.path.rpartition('/')[2]}.", fix="Check the file's path."
            )
        if answer.status in (401, 403, 404):
            raise self._not_found(answer.status)
        raise_for(answer)

    def _not_found(self, status: int) -> FetchFailed:
        """The Hub does not tell strangers whether a private dataset exists."""
        reason = f"The Hub has no dataset {self._source.name}" + (
            ", or your token may not read it." if self._has_token else ", or it is private."
        )
        fix = "Check its name. " + (
            "Check your token under Account." if self._has_token else "For a private one, set your token under Account."
        )
        return FetchFailed("refused" if status != 404 else "not_found", reason, fix=fix)

    def _address(self, path: str, query: str = "") -> Address:
        return parse(self._source.endpoint.rstrip("/") + path).with_query(query)


def _bearer(token: str) -> Sign:
    headers: Headers = {"Authorization": f"Bearer {token}"}
    return lambda _address: headers


def _json(answer: Answer) -> dict[str, Any]:
    text = answer.start_of(LISTING_BYTES)
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise FetchFailed("server", f"{answer.address.host} does not answer like the Hugging Face Hub.", fix="Check HF_ENDPOINT.")
    return read


def _repository(said: dict[str, Any]) -> Repository:
    files = tuple(
        _file(each) for each in said.get("siblings") or () if isinstance(each, dict) and isinstance(each.get("rfilename"), str)
    )
    card = said.get("cardData")
    return Repository(commit=str(said.get("sha") or ""), files=files, card=card if isinstance(card, dict) else {})


def _file(said: dict[str, Any]) -> HubFile:
    large = said.get("lfs") if isinstance(said.get("lfs"), dict) else {}
    size, sha256 = said.get("size"), (large or {}).get("sha256")
    return HubFile(said["rfilename"], size if isinstance(size, int) else None, sha256 if isinstance(sha256, str) else "")
