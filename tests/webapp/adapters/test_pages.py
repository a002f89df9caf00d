"""Pages of adapters: a team's own; downloads that can be checked."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.adapters.making import CONTENTS, published
from webapp.adapters.models import Adapter
from webapp.files import NAME, PATH


@pytest.fixture
def adapter(cast: Cast) -> Adapter:
    return published(cast, name="Tone of voice!")


def url(adapter: Adapter, rest: str = "") -> str:
    return f"/adapters/{adapter.pk}/{rest}"


def test_it_works(cast: Cast, adapter: Adapter, client: Client):
    client.force_login(cast.bob)
    assert "Tone of voice!" in client.get("/adapters/").content.decode()
    page = client.get(url(adapter)).content.decode()
    assert all(text in page for text in (*CONTENTS, "1.500", "PeftModel.from_pretrained", "smollm2-135m-instruct"))


@pytest.mark.parametrize("rest", ["", "download/", "files/adapter_config.json"])
def test_a_stranger_finds_nothing(cast: Cast, adapter: Adapter, client: Client, rest: str):
    client.force_login(cast.charlie)
    assert client.get(url(adapter, rest)).status_code == 404
    assert "Tone of voice" not in client.get("/adapters/").content.decode()


def test_the_zip_holds_files_that_can_be_checked(cast: Cast, adapter: Adapter, client: Client):
    client.force_login(cast.bob)
    reply = client.get(url(adapter, "download/"))
    assert reply.headers[NAME.decode()] == "tone-of-voice-adapter.zip"
    assert reply.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(Path(reply.headers[PATH.decode()]).read_bytes())) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {*CONTENTS, "checksums.txt"}
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        for line in archive.read("checksums.txt").decode().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
        assert len(archive.read("checksums.txt").splitlines()) == len(CONTENTS)


def test_it_is_built_once_and_downloads_are_counted(cast: Cast, adapter: Adapter, client: Client):
    client.force_login(cast.bob)
    path = Path(client.get(url(adapter, "download/")).headers[PATH.decode()])
    built = path.stat().st_ino
    client.get(url(adapter, "download/"))
    client.get(url(adapter, "download/"), headers={"Range": "bytes=0-"})
    client.get(url(adapter, "download/"), headers={"Range": "bytes=500-"})
    client.head(url(adapter, "download/"))
    assert path.stat().st_ino == built
    assert Adapter.objects.get().downloads == 3
    assert sorted(path.name for path in adapter.folder.iterdir()) == sorted([*CONTENTS, ".adapter.zip"])


def test_a_file_that_was_changed_is_not_handed_out(cast: Cast, adapter: Adapter, client: Client):
    (adapter.folder / "README.md").write_bytes(b"# A lie!\n")
    client.force_login(cast.bob)
    reply = client.get(url(adapter, "download/"))
    assert reply.status_code == 410
    assert "checksum" in reply.content.decode()
    assert Adapter.objects.get().downloads == 0


def test_single_files_are_sent_as_downloads(cast: Cast, adapter: Adapter, client: Client):
    client.force_login(cast.bob)
    reply = client.get(url(adapter, "files/README.md"))
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert Path(reply.headers[PATH.decode()]).read_bytes() == CONTENTS["README.md"]


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e%2fsecret_key", "....//x", ".adapter.zip", "absent.json", "README.md%00", "%2fetc%2fpasswd"]
)
def test_nothing_that_is_typed_becomes_a_path(cast: Cast, adapter: Adapter, client: Client, name: str):
    client.force_login(cast.alice)
    client.get(url(adapter, "download/"))
    assert client.get(url(adapter, f"files/{name}")).status_code == 404


def test_only_its_owner_deletes_it(cast: Cast, adapter: Adapter, client: Client):
    for user, status in ((cast.bob, 403), (cast.charlie, 404)):
        client.force_login(user)
        assert client.post(url(adapter, "delete/")).status_code == status
    assert adapter.folder.is_dir()


@pytest.mark.parametrize("who", ["alice", "ada"])
def test_it_is_deleted_with_its_files(cast: Cast, adapter: Adapter, client: Client, django_capture_on_commit_callbacks, who: str):
    client.force_login(getattr(cast, who))
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(url(adapter, "delete/"))["Location"] == "/adapters/"
    assert not Adapter.objects.exists()
    assert not adapter.folder.exists()


def test_an_unknown_adapter_is_404(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert client.get("/adapters/999/").status_code == 404


def test_an_empty_list_explains_itself(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert "No adapters yet" in client.get("/adapters/").content.decode()
