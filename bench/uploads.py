"""How fast files arrive in pieces (tus) on loopback, and how much memory the web server takes meanwhile.

    python -m bench.uploads [--mib 4096] [--one-only]

Aims: 100 MB/s or more, the web's memory under 200 MB whatever the size, each byte written once.
"""

import argparse
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.machine import keep
from bench.stack import Stack, running_stack

MIB = 2**20
TOKEN = "t" * 32
TOGETHER = 4
PREPARE = """
import json
from django.test import Client
from tests.cast import meet_the_cast
client = Client()
client.force_login(meet_the_cast().alice)
print(json.dumps(client.cookies["nibble_session"].value))
"""


class Sender:
    def __init__(self, stack: Stack, session: str) -> None:
        self.stack = stack
        self.cookies = {"nibble_session": session, "nibble_csrf": TOKEN}
        headers = {"X-CSRFToken": TOKEN, "Tus-Resumable": "1.0.0"}
        self.http = httpx.Client(base_url=stack.url, cookies=self.cookies, headers=headers, timeout=60)

    def begin(self, size: int) -> str:
        reply = self.http.post("/datasets/uploads/", headers={"Upload-Length": str(size)})
        reply.raise_for_status()
        return reply.headers["location"]

    def send(self, where: str, mib: int) -> None:
        """One PATCH of random bytes, as a browser sends a file; a socket, so that the sender costs next to nothing."""
        block = os.urandom(MIB)
        host, port = self.stack.url.removeprefix("http://").split(":")
        headers = [f"PATCH {where} HTTP/1.1", f"Host: {host}:{port}", f"X-CSRFToken: {TOKEN}", "Tus-Resumable: 1.0.0"]
        headers += [f"Cookie: {'; '.join(f'{name}={value}' for name, value in self.cookies.items())}", "Upload-Offset: 0"]
        headers += ["Content-Type: application/offset+octet-stream", f"Content-Length: {mib * MIB}", "", ""]
        with socket.create_connection((host, int(port))) as line:
            line.sendall("\r\n".join(headers).encode())
            for _ in range(mib):
                line.sendall(block)
            reply = line.recv(2000)
        if b" 204 " not in reply:
            raise RuntimeError(reply.decode())


def sent(sender: Sender, *, mib: int, together: int) -> dict[str, Any]:
    """Time from the first announcement until the last file is whole and its hash is known."""
    web = psutil.Process(sender.stack.web.pid)
    written, cpu, started = web.io_counters().write_chars, sum(web.cpu_times()[:2]), time.perf_counter()
    places = [sender.begin(mib * MIB) for _ in range(together)]
    threads = [threading.Thread(target=sender.send, args=(place, mib)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    bytes_ = mib * MIB * together
    for place in places:
        if int(sender.http.head(place).headers["upload-offset"]) != mib * MIB:
            raise RuntimeError(f"{place} is not whole")
        sender.http.delete(place).raise_for_status()
    return {
        "files_at_once": together,
        "mib_each": mib,
        "seconds": round(seconds, 2),
        "mb_per_second": round(bytes_ / seconds / 1e6, 1),
        "web_cpu_seconds_per_gb": round((sum(web.cpu_times()[:2]) - cpu) / bytes_ * 1e9, 2),
        "written_per_byte": round((web.io_counters().write_chars - written) / bytes_, 3),
        "web_peak_rss_mb": round(peak_rss_bytes(web.pid) / 1e6, 1),
    }


def peak_rss_bytes(pid: int) -> int:
    """The kernel's own high-water mark since the process began."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def main(mib: int, *, is_one_only: bool) -> None:
    with running_stack() as stack:
        sender = Sender(stack, json.loads(stack.python(PREPARE)))
        sent(sender, mib=8, together=1)  # the first request imports and connects
        before = psutil.Process(stack.web.pid).memory_info().rss
        figures: dict[str, Any] = {"load_before": round(os.getloadavg()[0], 1), "web_rss_before_mb": round(before / 1e6, 1)}
        figures["one"] = sent(sender, mib=mib, together=1)
        if not is_one_only:
            figures["several"] = sent(sender, mib=mib // TOGETHER, together=TOGETHER)
    keep("uploads_one_file" if is_one_only else "uploads", figures, packages=("django", "uvicorn"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=4096)
    parser.add_argument("--one-only", action="store_true", help="leave out the four files at once; kept as uploads_one_file.json")
    arguments = parser.parse_args()
    main(arguments.mib, is_one_only=arguments.one_only)
