"""Where a fetch may go: what is checked is what is connected to."""

import socket
from ipaddress import ip_address

import pytest

from tests.worker.fetching.certificates import Authority
from tests.worker.fetching.conftest import HOST, Bring
from tests.worker.fetching.web_server import WebServer, redirect, serving, whole
from worker.contract.fetching import MAX_REDIRECTS, FetchReport, FetchSecrets, WebAddress
from worker.fetching.addresses import parse
from worker.fetching.failures import FetchFailed
from worker.fetching.guard import is_not_dangerous, is_public, resolve

ROWS = b'{"text": "a"}\n'
INNER = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.254",
    "192.0.0.8",
    "198.18.0.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "2001:db8::1",
    "100::1",
]
OUTER = [
    "93.184.216.34",
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2606:2800:220:1:248:1893:25c8:1946",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", INNER)
def test_inner_addresses_are_not_public(address: str):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", OUTER)
def test_addresses_of_the_internet_are(address: str):
    assert is_public(ip_address(address))


def test_nobody_opens_the_metadata_service():
    assert is_not_dangerous(ip_address("127.0.0.1"))
    assert is_not_dangerous(ip_address("fd00::1"))
    elsewhere = ("fd00:ec2::254", "100.100.100.200", "::ffff:100.100.100.200", "192.0.0.192", "168.63.129.16")
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::", *elsewhere):
        assert not is_not_dangerous(ip_address(address)), address
        assert not is_public(ip_address(address)), address


def kind_of(report: FetchReport) -> str:
    return report.failure.kind if report.failure else "fetched"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "0"])
def test_localhost_by_any_name(bring: Bring, server: WebServer, host: str):
    server.pages["/rows.jsonl"] = whole(ROWS)
    report = bring(WebAddress(address=server.url(host, "/rows.jsonl")), opened=(), resolver=resolve)
    assert kind_of(report) in ("forbidden_address", "unreachable")
    assert server.asked == []
    assert server.names == []


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.7", "fd00::1", "100.64.3.2"])
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(bring: Bring, server: WebServer, address: str):
    report = bring(WebAddress(address=server.url("public.example.org", "/")), opened=(), resolver=lambda *_: [address])
    assert kind_of(report) == "forbidden_address"
    assert report.failure
    assert address not in report.failure.reason, "nobody learns how names resolve inside"


def test_one_inner_address_among_outer_ones_refuses_the_name(bring: Bring):
    report = bring(WebAddress(address="https://mixed.example.org/a"), opened=(), resolver=lambda *_: ["93.184.216.34", "127.0.0.1"])
    assert kind_of(report) == "forbidden_address"


def test_a_redirect_to_localhost_is_refused(bring: Bring, server: WebServer):
    server.pages["/start"] = redirect(server.url("localhost", "/secret"))
    server.pages["/secret"] = whole(ROWS)
    report = bring(WebAddress(address=server.url(HOST, "/start")))
    assert kind_of(report) == "forbidden_address"
    assert [path for path, _ in server.asked] == ["/start"]


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("https://169.254.169.254/latest/meta-data/", "forbidden_address"),
        ("http://93.184.216.34/rows.jsonl", "forbidden_address"),
        ("file:///etc/passwd", "address"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "address"),
        ("https://user:secret@data.example.org/", "address"),
        ("https://[::1", "redirects"),
        ("", "redirects"),
    ],
)
def test_redirects_that_are_not_followed(bring: Bring, server: WebServer, location: str, kind: str):
    server.pages["/start"] = redirect(location)
    report = bring(
        WebAddress(address=server.url(HOST, "/start")), resolver=lambda host, _: ["127.0.0.1"] if host == HOST else [host]
    )
    assert kind_of(report) == kind
    assert len(server.asked) == 1


def test_a_name_that_changes_between_two_looks(bring: Bring, server: WebServer, monkeypatch: pytest.MonkeyPatch):
    """Rebinding: public at the first look, loopback from the second on. Each connection goes where its own look said, or nowhere."""
    connected: list[str] = []

    def refuse(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    looks = iter([["93.184.216.34"]])
    report = bring(
        WebAddress(address=server.url("rebinding.example.org", "/rows.jsonl")),
        opened=(),
        resolver=lambda *_: next(looks, ["127.0.0.1"]),
    )
    assert kind_of(report) == "forbidden_address"
    assert connected == ["93.184.216.34"]


def test_the_connection_goes_to_the_address_that_was_checked(bring: Bring, server: WebServer, monkeypatch: pytest.MonkeyPatch):
    """The name is resolved once a connection, and never again by anything below: it does not even exist."""
    looked_up: list[object] = []
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: (looked_up.append(host), real(host, *rest, **more))[1])
    server.pages["/rows.jsonl"] = whole(ROWS)
    resolved: list[str] = []

    def once(host: str, port: int) -> list[str]:
        resolved.append(host)
        return ["127.0.0.1"] if len(resolved) == 1 else ["169.254.169.254"]

    report = bring(WebAddress(address=server.url(HOST, "/rows.jsonl")), resolver=once)
    assert kind_of(report) == "fetched"
    assert resolved == [HOST]
    assert set(looked_up) <= {"127.0.0.1"}, "the socket got the address, not the name"
    assert server.names == [HOST], "and TLS asked for the name"


def test_a_resumed_connection_is_checked_anew(bring: Bring, server: WebServer):
    server.pages["/rows.jsonl"] = whole(ROWS * 1000, breaks_after=100)
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    report = bring(WebAddress(address=server.url(HOST, "/rows.jsonl")), resolver=lambda *_: next(answers))
    assert kind_of(report) == "forbidden_address"
    assert len(server.asked) == 1


def test_too_many_redirects(bring: Bring, server: WebServer):
    server.pages["/0"] = whole(ROWS)
    for number in range(1, MAX_REDIRECTS + 2):
        server.pages[f"/{number}"] = redirect(f"/{number - 1}")
    assert kind_of(bring(WebAddress(address=server.url(HOST, f"/{MAX_REDIRECTS}")))) == "fetched"
    assert kind_of(bring(WebAddress(address=server.url(HOST, f"/{MAX_REDIRECTS + 1}")))) == "redirects"


def test_the_opened_port_is_not_another_port(bring: Bring, server: WebServer):
    server.pages["/rows.jsonl"] = whole(ROWS)
    address = WebAddress(address=server.url(HOST, "/rows.jsonl"))
    assert kind_of(bring(address, opened=(f"{HOST}:{server.server_port + 1}",))) == "forbidden_address"
    assert kind_of(bring(address, opened=(f"{HOST}:{server.server_port}",))) == "fetched"


def test_secrets_stay_with_their_host(bring: Bring, server: WebServer, authority: Authority):
    with serving(WebServer({"/rows.jsonl": whole(ROWS)}, certificate=authority.certificate("other.example.org"))) as other:
        server.pages["/start"] = redirect(other.url("other.example.org", "/rows.jsonl"))
        secrets = FetchSecrets(query="signature=s3cret")
        report = bring(WebAddress(address=server.url(HOST, "/start")), opened=(HOST, "other.example.org"), secrets=secrets)
        assert kind_of(report) == "fetched"
        assert server.asked[0][0] == "/start?signature=s3cret"
        assert "s3cret" not in str(other.asked)


def test_the_environments_proxies_are_not_used(bring: Bring, server: WebServer, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.pages["/rows.jsonl"] = whole(ROWS)
    assert kind_of(bring(WebAddress(address=server.url(HOST, "/rows.jsonl")))) == "fetched"


@pytest.mark.parametrize(
    "text",
    ["", "rows.jsonl", "ftp://example.org/a", "file:///etc/passwd", "https://", "https:///a", "https://user@example.org/", "https://a:b@example.org/",
     "https://exa mple.org/", "https://example.org:99999/", "https://[::1/", f"https://{'a' * 70}.org/", "javascript:alert(1)"],
)  # fmt: skip
def test_addresses_that_cannot_be_one(text: str):
    with pytest.raises(FetchFailed) as failed:
        parse(text)
    assert failed.value.failure.kind == "address"


def test_an_address_is_shown_without_its_query():
    assert (
        parse("HTTPS://Bücher.example/ä b.jsonl?X-Amz-Signature=1#part").shown == "https://xn--bcher-kva.example/%C3%A4%20b.jsonl"
    )
