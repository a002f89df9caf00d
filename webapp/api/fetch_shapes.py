"""What the API takes to fetch a dataset: the same fields as the page's forms."""

from typing import Annotated, Literal

from ninja import Schema
from pydantic import ConfigDict, Field


class FromHub(Schema):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["hub"]
    dataset: str
    """owner/name."""
    config: str = ""
    split: str = ""
    path: str = ""
    """A file of the repository, or a pattern like data/*.parquet."""
    revision: str = ""
    name: str = ""


class FromAddress(Schema):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["https"]
    address: str
    name: str = ""


class FromS3(Schema):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["s3"]
    address: str
    """s3://bucket/key."""
    endpoint: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""
    name: str = ""


FetchIn = Annotated[FromHub | FromAddress | FromS3, Field(discriminator="kind")]
