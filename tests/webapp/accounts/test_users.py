"""Users & teams: for administrators only."""

import re

import pytest
from django.test import Client

from tests.cast import PASSWORD, Cast
from webapp.accounts.models import OneTimeLink, Role, Team, User
from webapp.accounts.services import LastAdministrator, disable_user


@pytest.fixture
def admin(cast: Cast, client: Client) -> Client:
    client.force_login(cast.ada)
    return client


def link_in(reply) -> str:
    found = re.search(r"http://testserver(/link/[\w-]+/)", reply.content.decode())
    assert found
    return found.group(1)


def ask(admin: Client, cast: Cast, **changes: object):
    form = {"email": "Dora@Example.org", "team": cast.alice.team_id, "role": "member", "hours": 72, **changes}
    return admin.post("/users/invite/", form)


def test_the_list_shows_everybody(cast: Cast, admin: Client):
    page = admin.get("/users/").content.decode()
    assert all(name in page for name in ("Research", "Sales", "Alice", "Bob", "Charlie", "Ada"))


@pytest.mark.parametrize("path", ["invite/", "1/disable/", "1/enable/", "1/sign-in-link/", "invitations/1/withdraw/"])
def test_members_are_refused(cast: Cast, client: Client, path: str):
    client.force_login(cast.alice)
    assert client.get("/users/").status_code == 403
    assert client.post(f"/users/{path}").status_code == 403
    assert client.post("/teams/", {"name": "Mine"}).status_code == 403
    assert (Team.objects.count(), OneTimeLink.objects.count(), User.objects.filter(is_active=False).count()) == (2, 0, 0)


def test_an_invitation_is_shown_once(cast: Cast, admin: Client):
    reply = ask(admin, cast)
    url = link_in(reply)
    assert "no-store" in reply["Cache-Control"]
    assert url not in admin.get("/users/").content.decode()
    assert "dora@example.org" in admin.get("/users/").content.decode()
    assert Client().get(url).status_code == 200


@pytest.mark.parametrize(
    ("changes", "field", "status"),
    [
        ({"email": "no address"}, "email", 422),
        ({"email": "bob@example.org"}, "email", 409),
        ({"team": 999}, "team", 422),
        ({"role": "owner"}, "role", 422),
        ({"hours": 9999}, "hours", 422),
    ],
)
def test_a_bad_invitation_is_refused(cast: Cast, admin: Client, changes: dict[str, object], field: str, status: int):
    reply = ask(admin, cast, **changes)
    assert reply.status_code == status
    assert field in reply.context["invite_form"].errors
    assert not OneTimeLink.objects.exists()


def test_an_invitation_can_be_withdrawn(cast: Cast, admin: Client):
    url = link_in(ask(admin, cast))
    assert admin.post(f"/users/invitations/{OneTimeLink.objects.get().pk}/withdraw/").status_code == 302
    assert Client().get(url).status_code == 410
    assert admin.post("/users/invitations/999/withdraw/").status_code == 404


def test_a_team_is_created(cast: Cast, admin: Client):
    assert admin.post("/teams/", {"name": " Legal "}).status_code == 302
    assert Team.objects.filter(name="Legal").exists()
    assert admin.post("/teams/", {"name": "Legal"}).status_code == 422
    assert admin.post("/teams/", {"name": ""}).status_code == 422
    assert Team.objects.count() == 3


def test_somebody_who_forgot_gets_a_link(cast: Cast, admin: Client):
    url = link_in(admin.post(f"/users/{cast.bob.pk}/sign-in-link/"))
    visitor = Client()
    visitor.post(url)
    assert visitor.session["_auth_user_id"] == str(cast.bob.pk)


def test_a_disabled_user_is_out_at_once(cast: Cast, admin: Client):
    bob = Client()
    bob.force_login(cast.bob)
    assert bob.get("/account/").status_code == 200
    assert admin.post(f"/users/{cast.bob.pk}/disable/").status_code == 302
    assert bob.get("/account/").status_code == 302
    assert Client().post("/sign-in/", {"email": cast.bob.email, "password": PASSWORD}).status_code == 401
    assert admin.post(f"/users/{cast.bob.pk}/sign-in-link/").status_code == 409
    assert admin.post(f"/users/{cast.bob.pk}/enable/").status_code == 302
    assert Client().post("/sign-in/", {"email": cast.bob.email, "password": PASSWORD}).status_code == 302


def test_nobody_disables_themselves(cast: Cast, admin: Client):
    reply = admin.post(f"/users/{cast.ada.pk}/disable/")
    assert reply.status_code == 409
    assert "own account" in reply.content.decode()
    assert User.objects.get(pk=cast.ada.pk).is_active


def test_the_last_administrator_stays(cast: Cast):
    """Somebody whose rights were taken meanwhile, on a page that is still open."""
    with pytest.raises(LastAdministrator):
        disable_user(cast.ada, by=cast.alice)
    User.objects.filter(pk=cast.alice.pk).update(role=Role.ADMIN)
    disable_user(cast.ada, by=cast.alice)
    assert not User.objects.get(pk=cast.ada.pk).is_active


def test_an_unknown_user_is_404(admin: Client):
    for action in ("disable", "enable", "sign-in-link"):
        assert admin.post(f"/users/999/{action}/").status_code == 404
