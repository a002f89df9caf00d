"""Limits of teams and members: for administrators only."""

import pytest
from django.test import Client

from tests.cast import Cast
from webapp.accounts.models import Team, User


@pytest.fixture
def admin(cast: Cast, client: Client) -> Client:
    client.force_login(cast.ada)
    return client


def test_a_team_gets_its_limits(cast: Cast, admin: Client):
    team = cast.alice.team
    assert admin.post(f"/teams/{team.pk}/limits/", {"running_limit": "8", "member_running_limit": "2"}).status_code == 302
    team.refresh_from_db()
    assert (team.running_limit, team.member_running_limit) == (8, 2)
    page = admin.get("/users/").content.decode()
    assert "at most 8 slots at once, 2 each" in page


def test_nothing_is_no_limit(cast: Cast, admin: Client):
    Team.objects.update(running_limit=3)
    admin.post(f"/teams/{cast.alice.team_id}/limits/", {"running_limit": "", "member_running_limit": ""})
    assert Team.objects.get(pk=cast.alice.team_id).running_limit is None
    assert "as many slots as there are" in admin.get("/users/").content.decode()


def test_a_member_gets_a_limit_of_their_own(cast: Cast, admin: Client):
    assert admin.post(f"/users/{cast.bob.pk}/limit/", {"running_limit": "0"}).status_code == 302
    assert User.objects.get(pk=cast.bob.pk).running_limit == 0
    assert "0 slots" in admin.get("/users/").content.decode()


@pytest.mark.parametrize("value", ["-1", "x", "1e9", "10001", "1.5"])
def test_a_wrong_limit_changes_nothing(cast: Cast, admin: Client, value: str):
    for path in (f"/teams/{cast.alice.team_id}/limits/", f"/users/{cast.bob.pk}/limit/"):
        reply = admin.post(path, {"running_limit": value})
        assert reply.status_code == 422
        assert "was left as it is" in reply.content.decode()
    assert (Team.objects.get(pk=cast.alice.team_id).running_limit, User.objects.get(pk=cast.bob.pk).running_limit) == (None, None)


def test_members_are_refused(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert client.post(f"/teams/{cast.alice.team_id}/limits/", {"running_limit": "8"}).status_code == 403
    assert client.post(f"/users/{cast.alice.pk}/limit/", {"running_limit": "8"}).status_code == 403


def test_who_is_not_there_has_no_limit(admin: Client):
    assert admin.post("/teams/999/limits/", {}).status_code == 404
    assert admin.post("/users/999/limit/", {}).status_code == 404
