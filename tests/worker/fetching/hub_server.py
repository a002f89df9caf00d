"""As much of the Hugging Face Hub's interface for datasets as its web pages and huggingface_hub use, as pages of a test server."""

import hashlib
import json
from typing import Any

from tests.worker.fetching.web_server import Asked, Page, WebServer, whole

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONVERTED_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
TOKEN = "hf_may_read"


def put_dataset(
    server: WebServer,
    name: str,
    files: dict[str, bytes],
    *,
    card: dict[str, Any] | None = None,
    revision: str = "main",
    commit: str = COMMIT,
    gated: bool = False,
    cdn: str = "",
    hash_of: dict[str, str] | None = None,
) -> None:
    """`cdn`: where downloads redirect to, another host of the same server, as the Hub's storage is."""
    siblings = []
    for path, body in files.items():
        large = {"sha256": (hash_of or {}).get(path, hashlib.sha256(body).hexdigest()), "size": len(body), "pointerSize": 130}
        siblings.append(
            {"rfilename": path, "size": len(body), "blobId": "b", **({"lfs": large} if path.endswith(".parquet") else {})}
        )
        if cdn:
            server.pages[f"/datasets/{name}/resolve/{commit}/{path}"] = _guarded(gated, _to(f"{cdn}/blobs/{path}?signature=cdn"))
            server.pages[f"/blobs/{path}"] = whole(body)
        else:
            server.pages[f"/datasets/{name}/resolve/{commit}/{path}"] = _guarded(gated, whole(body))
    about = {
        "id": name,
        "sha": commit,
        "siblings": siblings,
        "gated": "auto" if gated else False,
        **({"cardData": card} if card else {}),
    }
    for each in (revision, commit):
        server.pages[f"/api/datasets/{name}/revision/{each}"] = _info(about, gated)


def _info(about: dict[str, Any], gated: bool) -> Page:
    return _guarded(gated, lambda asked: asked.answer(200, json.dumps(about).encode(), Content_Type="application/json"))


def _to(address: str) -> Page:
    return lambda asked: asked.answer(302, b"", Location=address)


def _guarded(gated: bool, page: Page) -> Page:
    def guarded(asked: Asked) -> None:
        if gated and asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            asked.answer(403 if asked.headers.get("Authorization") else 401, b"", X_Error_Code="GatedRepo")
        else:
            page(asked)

    return guarded


def unknown_revision(asked: Asked) -> None:
    asked.answer(404, b"", X_Error_Code="RevisionNotFound")
