"""What `python -m worker.fetching` is asked to bring, and what it says of it. Secrets come by its standard input, never here."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from worker.contract.message import Message

MAX_FILES = 500
MAX_REDIRECTS = 5
Split = Literal["train", "validation", "test"]
HUB_NAME = r"^[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?$"
BUCKET = r"^[A-Za-z0-9][A-Za-z0-9.\-_]{1,254}$"


class HubDataset(Message):
    """A dataset of the Hugging Face Hub: the data files of its repository, each under the split that it belongs to."""

    kind: Literal["hub"] = "hub"
    endpoint: str
    """The Hub's address, HF_ENDPOINT."""
    name: str = Field(pattern=HUB_NAME)
    revision: str = Field("", max_length=200)
    """A branch, tag or commit; empty: its main one."""
    config: str = Field("", max_length=200)
    split: str = Field("", max_length=200)
    """One split by the Hub's name, which then is all there is; empty: all of them."""
    files: str = Field("", max_length=500)
    """A path in the repository, or a pattern like data/*.parquet; empty: what its card says, else what its files are called."""


class WebAddress(Message):
    kind: Literal["https"] = "https"
    address: str = Field(max_length=4000)
    """Without what stands after the question mark: that may be a signature, and comes with the secrets."""


class S3Object(Message):
    kind: Literal["s3"] = "s3"
    bucket: str = Field(pattern=BUCKET)
    key: str = Field(min_length=1, max_length=1024)
    endpoint: str = Field("", max_length=1000)
    """Empty: Amazon's own."""
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,40}$")


FetchSource = Annotated[HubDataset | WebAddress | S3Object, Field(discriminator="kind")]


class FetchTask(Message):
    """TASK_DIR/task.json. The files come to TASK_DIR/files/."""

    kind: Literal["fetch"] = "fetch"
    source: FetchSource
    limit_bytes: int = Field(ge=1)
    """Of all files together."""
    keep_free_bytes: int = Field(0, ge=0)
    """So much of the disk stays free."""
    stall_seconds: float = Field(60, gt=0)
    """Without progress for so long it is given up."""
    opened: tuple[str, ...] = ()
    """Hosts, or host:port, that an administrator opened: they may have private addresses and speak http."""


class FetchSecrets(Message):
    """Read from standard input as JSON; nothing of it is written or said anywhere, not even by an error about one that is wrong."""

    model_config = ConfigDict(hide_input_in_errors=True)

    query: str = Field("", repr=False, max_length=8000)
    """What stood after the question mark of a web address."""
    hub_token: str = Field("", repr=False, max_length=500)
    access_key_id: str = Field("", repr=False, max_length=200)
    secret_access_key: str = Field("", repr=False, max_length=500)
    session_token: str = Field("", repr=False, max_length=8000)


FailureKind = Literal[
    "address",  # it cannot be one
    "forbidden_address",  # it leads to where nobody may be sent
    "unreachable",
    "certificate",
    "redirects",
    "refused",  # 401, 403: a key or a token is missing or wrong
    "not_found",
    "server",
    "not_data",  # a web page, or no data files
    "choose",  # there is more than one thing to fetch: say which
    "too_large",
    "disk_full",
    "stalled",
    "broken_off",
    "changed",  # the bytes are not those that were announced
    "unexpected",
]


class FetchFailure(Message):
    """Nothing was kept. `reason` says what and where, `fix` what to do."""

    kind: FailureKind
    reason: str = Field(min_length=1, max_length=2000)
    fix: str = Field("", max_length=2000)
    choices: tuple[str, ...] = Field((), max_length=200)
    """Of kind choose: the names that there are."""


class FetchedFile(Message):
    path: str
    """Within TASK_DIR: files/0, files/1, …"""
    name: str = Field(max_length=1024)
    """As its source calls it: for display only."""
    size_bytes: int = Field(ge=0)
    sha256: str
    split: Split = "train"


class FetchReport(Message):
    """TASK_DIR/report.json: files, or why there are none."""

    files: tuple[FetchedFile, ...] = ()
    commit: str = ""
    """The Hub's commit that the files are of."""
    failure: FetchFailure | None = None
