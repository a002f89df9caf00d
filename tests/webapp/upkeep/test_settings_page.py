"""Settings, for administrators: disk, what would be deleted, the policy, and the button that cleans now."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from webapp.upkeep.selectors import upkeep_policy


@pytest.fixture
def admin(cast: Cast, client: Client) -> Client:
    client.force_login(cast.ada)
    return client


@pytest.fixture
def leftover(settings: Any) -> Path:
    """An upload that broke off two days ago."""
    path = Path(settings.FILE_UPLOAD_TEMP_DIR) / "broken.upload"
    path.write_bytes(b"x" * 2048)
    os.utime(path, (time.time() - 2 * 86_400,) * 2)
    return path


def test_it_shows_what_would_go_and_touches_nothing(admin: Client, leftover: Path):
    page = admin.get("/settings/").content.decode()
    assert all(text in page for text in ("broken.upload", "2.0 KiB", "Clean now…", "free of"))
    assert leftover.exists()


def test_the_button_deletes_what_was_shown(admin: Client, leftover: Path):
    page = admin.post("/settings/clean", follow=True).content.decode()
    assert "Deleted 1 thing, 2.0 KiB in all." in page
    assert "The last cleaning deleted 1 × unfinished dataset uploads" in page
    assert not leftover.exists()


def test_nothing_to_delete_is_said(admin: Client):
    page = admin.get("/settings/").content.decode()
    assert 'aria-disabled="true" popovertarget="why-no-clean"' in page
    assert "There was nothing to delete." in admin.post("/settings/clean", follow=True).content.decode()


def test_the_policy_is_set(cast: Cast, admin: Client):
    sent = {"keep_checkpoints_days": "3.5", "keep_logs_days": ""}
    assert admin.post("/settings/housekeeping", sent).headers["Location"] == "/settings/"
    policy = upkeep_policy()
    assert (policy.keep_checkpoints_days, policy.keep_logs_days, policy.changed_by) == (3.5, None, cast.ada)
    assert "set by Ada" in admin.get("/settings/").content.decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [("keep_checkpoints_days", ""), ("keep_checkpoints_days", "-1"), ("keep_logs_days", "nan"), ("keep_logs_days", "99999")],
)
def test_a_wrong_value_is_told_at_its_field(admin: Client, field: str, value: str):
    reply = admin.post("/settings/housekeeping", {"keep_checkpoints_days": "1", "keep_logs_days": "1", field: value})
    assert reply.status_code == 422
    assert list(reply.context["form"].errors) == [field]
    assert upkeep_policy().changed_at is None


def test_a_full_disk_is_said_there_and_on_the_overview(cast: Cast, admin: Client, settings: Any):
    settings.MIN_FREE_BYTES = 2**60
    assert "jobs start again above" in admin.get("/settings/").content.decode()
    admin.force_login(cast.alice)
    assert "No new job starts." in admin.get("/").content.decode()


def test_members_are_refused(cast: Cast, client: Client, leftover: Path):
    client.force_login(cast.alice)
    assert client.get("/settings/").status_code == 403
    assert client.post("/settings/clean").status_code == 403
    assert client.post("/settings/housekeeping", {"keep_checkpoints_days": "0"}).status_code == 403
    assert leftover.exists()
    assert "/settings/" not in client.get("/").content.decode()


def test_looking_is_not_cleaning(admin: Client):
    assert admin.get("/settings/clean").status_code == 405
