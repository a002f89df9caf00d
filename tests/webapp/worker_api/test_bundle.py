"""What a new machine downloads: complete, the same every time, and without a secret."""

import gzip
import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from webapp.worker_api.bundle import shipped_files, worker_bundle


def names(content: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as tar:
        return tar.getnames()


def test_the_bundle_works(db: None) -> None:
    answer = Client().get("/worker/v1/bundle.tar.gz")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/gzip")
    found = names(answer.content)
    assert {"worker/__init__.py", "worker/requirements.txt", "worker/agent/__main__.py", "worker/qlora/__main__.py"} <= set(found)
    assert all(name.startswith("worker/") for name in found)


def test_it_is_the_same_every_time_and_has_only_code(tmp_path: Path) -> None:
    folder = tmp_path / "worker" / "__pycache__"
    folder.mkdir(parents=True)
    for name in ("worker/b.py", "worker/a.py", "worker/.env", "worker/.secret.py", "worker/key.pem", "worker/__pycache__/a.py"):
        (tmp_path / name).write_text("x")
    (tmp_path / "outside.py").write_text("x")
    (tmp_path / "worker" / "link.py").symlink_to(tmp_path / "outside.py")
    first = worker_bundle(tmp_path)
    worker_bundle.cache_clear()
    (tmp_path / "worker" / "a.py").touch()
    assert worker_bundle(tmp_path) == first
    assert names(first) == ["worker/a.py", "worker/b.py"]


def test_everything_that_git_knows_of_the_worker_is_in_it() -> None:
    root = Path(django_settings.BASE_DIR)
    known = subprocess.run(["git", "ls-files", "worker"], cwd=root, capture_output=True, text=True)
    if known.returncode:
        pytest.skip("no git checkout")
    shipped = {str(path.relative_to(root)) for path in shipped_files(root)}
    assert {name for name in known.stdout.split() if not name.endswith(("Dockerfile", ".sh"))} <= shipped  # those are for images


def test_the_script_knows_its_dashboard(db: None, settings: Any) -> None:
    answer = Client().get("/worker/v1/join.sh", headers={"Host": "localhost:8123"})
    assert answer["Content-Type"].startswith("text/x-shellscript")
    assert "\nURL=http://localhost:8123\n" in answer.content.decode()
    settings.PUBLIC_URL = "https://nibble.example.org"
    assert "\nURL=https://nibble.example.org\n" in Client().get("/worker/v1/join.sh").content.decode()


def test_an_address_cannot_smuggle_a_command_in(db: None, settings: Any) -> None:
    settings.PUBLIC_URL = "https://x.example.org/$(touch /tmp/owned)"
    assert "\nURL='https://x.example.org/$(touch /tmp/owned)'\n" in Client().get("/worker/v1/join.sh").content.decode()
    settings.PUBLIC_URL = ""
    assert Client().get("/worker/v1/join.sh", headers={"Host": "evil.example.org"}).status_code == 400
