"""Behind nginx with TLS, as docs/nginx.conf.example says: cookies, redirects, sockets and their origin, uploads."""

import asyncio
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.servers import free_port, redis_server
from tests.system_packages import nginx_on_path
from tests.waiting import wait_until
from webapp.launcher.children import ROOT, Child, Program
from webapp.launcher.visitor import Visitor

pytestmark = pytest.mark.skipif(not nginx_on_path(), reason="nginx is not installed (Debian, Ubuntu: apt install nginx-light)")


@dataclass(frozen=True)
class Site:
    """The dashboard as the world sees it."""

    url: str
    plain_url: str
    sign_in_link: str
    trust: ssl.SSLContext

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.trust, trust_env=False, timeout=20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("nginx")
    tls, plain, inside = free_port(), free_port(), free_port()
    url = f"https://localhost:{tls}"
    make_certificate(folder)
    write_nginx_config(folder, tls=tls, plain=plain, inside=inside)
    with ExitStack() as running:
        environment = {
            "PATH": "/usr/bin:/bin",
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
            "NIBBLE_DATA": str(folder / "data"),
            "NIBBLE_PUBLIC_URL": url,
            "REDIS_URL": running.enter_context(redis_server()),
        }
        for command in (["migrate", "-v0"], ["first_run"]):
            subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=environment, check=True, capture_output=True)
        link = subprocess.run(
            [sys.executable, "manage.py", "sign_in_link"], cwd=ROOT, env=environment, check=True, capture_output=True
        )
        web = [sys.executable, "-m", "uvicorn", "webapp.asgi:application", "--port", str(inside), "--no-access-log"]
        for program in (
            Program("web", web, environment),
            Program("nginx", nginx_command(folder), {"PATH": "/usr/sbin:/usr/bin:/bin"}),
        ):
            child = Child(program, logs=folder)
            running.callback(child.end_now)
            running.callback(child.ask_to_end)
        site = Site(url, f"http://localhost:{plain}", link.stdout.decode().strip(), trust_in(folder))
        wait_until(lambda: answers(site), what="web behind nginx")
        yield site


def make_certificate(folder: Path) -> None:
    """Self-signed for localhost."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), today, today + timedelta(days=2))
    named = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "certificate.pem").write_bytes(named.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, private, serialization.NoEncryption()))


def trust_in(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "certificate.pem"))


def write_nginx_config(folder: Path, *, tls: int, plain: int, inside: int) -> None:
    """The documented file with this machine's ports and paths; every replacement must find its text."""
    text = (ROOT / "docs" / "nginx.conf.example").read_text()
    for old, new in (
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{inside};"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{tls} ssl;"),
        ("return 301 https://$host$request_uri;", f"return 301 https://$host:{tls}$request_uri;"),
        ("proxy_set_header Host $host; ", "proxy_set_header Host $http_host; "),
        ("server_name nibble.example.org;", "server_name localhost;"),
        ("/etc/ssl/nibble/", f"{folder}/"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    frame = f"daemon off;\nworker_processes 1;\nuser root;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
    (folder / "nginx.conf").write_text(f"{frame}events {{}}\nhttp {{\naccess_log off;\n{paths}{text}}}\n")


def nginx_command(folder: Path) -> list[str]:
    return [nginx_on_path(), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def answers(site: Site) -> bool:
    try:
        with site.client() as client:
            return client.get("/healthz").is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def visitor(site: Site) -> Visitor:
    return Visitor(site.sign_in_link, csrf_cookie="nibble_csrf", verify=site.trust)


def test_the_sign_in_link_names_the_public_address(site: Site) -> None:
    assert site.sign_in_link.startswith(f"{site.url}/link/")


def test_plain_http_is_sent_to_https(site: Site) -> None:
    answer = httpx.get(f"{site.plain_url}/jobs/", trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (301, f"{site.url}/jobs/")


def test_redirects_stay_at_the_public_address(site: Site) -> None:
    with site.client() as client:
        answer = client.get("/jobs/")
        assert answer.status_code == 302
        assert str(answer.next_request.url if answer.next_request else "").startswith(f"{site.url}/sign-in/")


def test_cookies_are_secure(site: Site) -> None:
    with site.client() as client:
        cookies = client.get("/sign-in/").headers.get_list("set-cookie")
    assert cookies
    for cookie in cookies:
        assert re.search(r";\s*secure", cookie, re.IGNORECASE), cookie
        assert re.search(r"samesite=lax", cookie, re.IGNORECASE), cookie


def test_strict_transport_security_is_asked_for(site: Site) -> None:
    with site.client() as client:
        assert "max-age=" in client.get("/sign-in/").headers["strict-transport-security"]


def test_forms_work_and_foreign_ones_do_not(site: Site, visitor: Visitor) -> None:
    assert visitor.get("me")["role"] == "admin"
    token = visitor.http.cookies["nibble_csrf"]
    headers = {"X-CSRFToken": token, "Origin": "https://evil.example.org", "Referer": "https://evil.example.org/"}
    foreign = visitor.http.post("/api/v1/jobs", json={}, headers=headers)
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (403, "csrf")


def test_an_upload_of_three_megabytes_goes_through(visitor: Visitor) -> None:
    row = b'{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "ok"}]}\n' % (b"x" * 900)
    headers = {"X-CSRFToken": visitor.http.cookies["nibble_csrf"], "Referer": visitor.page("/")}
    sent = visitor.http.post("/api/v1/datasets", files={"file": ("large.jsonl", row * 3200)}, headers=headers)
    assert sent.status_code == 201, sent.text
    assert sent.json()["versions"][0]["size_bytes"] == len(row) * 3200


def test_an_upload_in_pieces_goes_through_as_it_comes(visitor: Visitor) -> None:
    data = b"x" * (3 * 2**20)
    headers = {"X-CSRFToken": visitor.http.cookies["nibble_csrf"], "Referer": visitor.page("/"), "Tus-Resumable": "1.0.0"}
    assert visitor.http.options("/datasets/uploads/", headers=headers).headers["tus-version"] == "1.0.0"
    where = visitor.http.post("/datasets/uploads/", headers={**headers, "Upload-Length": str(len(data))}).headers["location"]
    piece = {**headers, "Content-Type": "application/offset+octet-stream"}
    for start in (0, 2**20):
        end = len(data) if start else 2**20
        sent = visitor.http.patch(where, content=data[start:end], headers={**piece, "Upload-Offset": str(start)})
        assert (sent.status_code, sent.headers["upload-offset"]) == (204, str(end)), sent.text
    assert visitor.http.head(where, headers=headers).headers["upload-offset"] == str(len(data))
    assert visitor.http.delete(where, headers=headers).status_code == 204


@pytest.mark.parametrize(("origin", "status"), [("", 101), ("https://evil.example.org", 403), (None, 403)])
def test_sockets_open_from_the_own_origin_only(site: Site, visitor: Visitor, origin: str | None, status: int) -> None:
    """Unknown jobs close at once, after the handshake's own answer: 101 here says that origin and upgrade went through."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.http.cookies.jar)
    socket = f"wss://{site.url.removeprefix('https://')}/ws/jobs/{job_of(visitor)}/?after=0"

    async def opened() -> int:
        shown = site.url if origin == "" else origin
        try:
            options = {"additional_headers": {"Cookie": cookies}, "ssl": site.trust, "proxy": None}
            async with websockets.connect(socket, origin=shown, **options) as connection:
                await asyncio.wait_for(connection.recv(), 10)
                return 101
        except websockets.InvalidStatus as refused:
            return refused.response.status_code

    assert asyncio.run(opened()) == status


def job_of(visitor: Visitor) -> int:
    """A queued one, made once."""
    if jobs := visitor.get("jobs")["data"]:
        return int(jobs[0]["id"])
    row = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    headers = {"X-CSRFToken": visitor.http.cookies["nibble_csrf"], "Referer": visitor.page("/")}
    sent = visitor.http.post("/api/v1/datasets", files={"file": ("small.jsonl", row * 4)}, headers=headers).json()
    named = {"name": "First", "pool": "local", "base_model": visitor.get("models")["data"][0]["id"]}
    body = {**named, "dataset_version": sent["versions"][0]["id"], "training": {"max_steps": 1}}
    return int(visitor.post("jobs", body)["id"])
