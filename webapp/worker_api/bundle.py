"""What a new machine downloads: the script that sets a worker up, and the worker's code. Both are public and hold no secret."""

import gzip
import hashlib
import io
import shlex
import tarfile
from functools import cache
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from webapp.pools.selectors import public_url
from webapp.worker_api.door import door

SCRIPT = Path(__file__).with_name("join.sh")
SHIPPED = {".py", ".txt", ".json", ".toml", ".jinja", ".md", ".typed"}


@door("GET")
def join_script(request: HttpRequest) -> HttpResponse:
    script = SCRIPT.read_text().replace("@URL@", shlex.quote(public_url(request)))
    return HttpResponse(script, content_type="text/x-shellscript; charset=utf-8")


@door("GET")
def bundle(request: HttpRequest) -> HttpResponse:
    content = worker_bundle(Path(settings.BASE_DIR))
    response = HttpResponse(content, content_type="application/gzip")
    response.headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
    response.headers["Content-Disposition"] = 'attachment; filename="nibble-worker.tar.gz"'
    return response


@cache
def worker_bundle(root: Path) -> bytes:
    """The same bytes for the same code: names in order, no times, no owners."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path in shipped_files(root):
            entry = tarfile.TarInfo(str(path.relative_to(root)))
            entry.size, entry.mode, entry.mtime = path.stat().st_size, 0o644, 0
            with path.open("rb") as content:
                tar.addfile(entry, content)
    return packed.getvalue()


def shipped_files(root: Path) -> list[Path]:
    """Code and its data under worker/; no caches, nothing hidden, no links."""
    found = (path for path in (root / "worker").rglob("*") if path.is_file() and not path.is_symlink())
    parts = {path: path.relative_to(root).parts for path in found if path.suffix in SHIPPED}
    return sorted(path for path, names in parts.items() if not any(name.startswith((".", "__pycache__")) for name in names))
