"""How long browsers keep static files: vendored ones, whose names carry their version, for good; ours are asked about again."""

from collections.abc import MutableMapping

A_YEAR = 365 * 24 * 3600


def static_headers(headers: MutableMapping[str, str], path: str, url: str) -> None:
    """servestatic calls it once for each file; its own setting for this is not read by its middleware."""
    if "/static/vendor/" in url:
        headers["Cache-Control"] = f"max-age={A_YEAR}, public, immutable"
