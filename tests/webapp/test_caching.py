"""Static files: what carries a version is kept for good, what does not is asked about again after a minute."""

import pytest
from django.test import Client


@pytest.mark.parametrize(
    ("path", "kept"),
    [("vendor/htmx-2.0.8.min.js", "max-age=31536000, public, immutable"), ("js/page.js", "max-age=60, public")],
)
def test_vendored_files_are_kept_for_good(path: str, kept: str):
    answer = Client().get(f"/static/{path}")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, kept)
