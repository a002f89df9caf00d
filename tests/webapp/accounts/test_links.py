"""One-time links: looking uses nothing up, a click does, once."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests.cast import PASSWORD, Cast
from webapp.accounts.links import DeadLink, DisabledUser, EmailTaken, invite, make_sign_in_link, use_up
from webapp.accounts.models import OneTimeLink, User
from webapp.accounts.selectors import link_behind

NEW = "a very long new one"
pytestmark = pytest.mark.postgres


def sign_in_link(cast: Cast) -> str:
    return f"/link/{make_sign_in_link(cast.alice, by=cast.ada, hours=1)}/"


def invitation(cast: Cast) -> str:
    return f"/link/{invite('dora@example.org', team=cast.alice.team, role='member', by=cast.ada, hours=1)}/"


def accept(client: Client, url: str, **changes: str):
    return client.post(url, {"name": "Dora", "password": NEW, "again": NEW, **changes})


def test_a_click_signs_in_and_leads_to_a_password(cast: Cast, client: Client):
    url = sign_in_link(cast)
    assert client.get(url).status_code == 200
    assert "_auth_user_id" not in client.session
    assert client.post(url)["Location"] == "/account/set-password/"
    assert client.session["_auth_user_id"] == str(cast.alice.pk)
    assert client.post("/account/set-password/", {"password": NEW, "again": NEW})["Location"] == "/"
    assert User.objects.get(pk=cast.alice.pk).check_password(NEW)
    assert client.get("/account/").status_code == 200


def test_a_scanner_that_looks_uses_nothing_up(cast: Cast, client: Client):
    url = sign_in_link(cast)
    for _ in range(3):
        assert client.get(url).status_code == 200
        assert client.head(url).status_code == 200
    assert client.post(url).status_code == 302


def test_it_works_once(cast: Cast):
    url = sign_in_link(cast)
    assert Client().post(url).status_code == 302
    assert Client().post(url).status_code == 410
    assert Client().get(url).status_code == 410


def test_two_who_looked_together_are_one_who_came_in(cast: Cast):
    token = make_sign_in_link(cast.alice, by=None, hours=1)
    first, second = link_behind(token), link_behind(token)
    assert first is not None
    assert second is not None
    use_up(first)
    with pytest.raises(DeadLink):
        use_up(second)


@pytest.mark.django_db(transaction=True)
def test_of_twenty_clicks_at_once_one_signs_in():
    from tests.cast import meet_the_cast

    url, barrier, codes = sign_in_link(meet_the_cast()), Barrier(20), []

    def click() -> None:
        barrier.wait()
        codes.append(Client().post(url).status_code)
        connection.close()

    threads = [Thread(target=click) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [302] + [410] * 19


def test_it_expires(cast: Cast, client: Client):
    url = sign_in_link(cast)
    OneTimeLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(url).status_code == 410
    assert client.post(url).status_code == 410


@pytest.mark.parametrize("token", ["nbl_wrong", "x", "é", "a" * 3000])
def test_an_unknown_one_is_404(cast: Cast, client: Client, token: str):
    reply = client.get(f"/link/{token}/")
    assert reply.status_code == 404
    assert "This link does not work" in reply.content.decode()


def test_a_newer_link_replaces_the_older(cast: Cast, client: Client):
    older, newer = sign_in_link(cast), sign_in_link(cast)
    assert client.post(older).status_code == 410
    assert client.post(newer).status_code == 302


def test_a_disabled_user_has_none(cast: Cast, client: Client):
    url = sign_in_link(cast)
    User.objects.filter(pk=cast.alice.pk).update(is_active=False)
    assert client.post(url).status_code == 410
    cast.alice.refresh_from_db()
    with pytest.raises(DisabledUser):
        make_sign_in_link(cast.alice, by=None, hours=1)


def test_only_its_hash_is_stored(cast: Cast):
    token = make_sign_in_link(cast.alice, by=None, hours=1)
    assert token not in str(list(OneTimeLink.objects.values()))


def test_the_page_is_kept_in_no_cache(cast: Cast, client: Client):
    assert "no-store" in client.get(sign_in_link(cast))["Cache-Control"]


def test_an_invitation_makes_an_account(cast: Cast, client: Client):
    url = invitation(cast)
    assert "dora@example.org" in client.get(url).content.decode()
    assert accept(client, url)["Location"] == "/"
    dora = User.objects.get(email="dora@example.org")
    assert (dora.team, dora.role, dora.name) == (cast.alice.team, "member", "Dora")
    assert client.session["_auth_user_id"] == str(dora.pk)
    assert accept(Client(), url).status_code == 410


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"again": "different"}, "again"), ({"password": "short", "again": "short"}, "password"), ({"name": " \u202e "}, "name")],
)
def test_a_refused_form_leaves_the_invitation_alive(cast: Cast, client: Client, changes: dict[str, str], field: str):
    url = invitation(cast)
    reply = accept(client, url, **changes)
    assert reply.status_code == 422
    assert field in reply.context["form"].errors
    assert not User.objects.filter(email="dora@example.org").exists()
    assert accept(client, url).status_code == 302


def test_nobody_chooses_their_own_role(cast: Cast, client: Client):
    accept(client, invitation(cast), role="admin", team=str(cast.ada.team_id), email="eve@example.org")
    assert User.objects.get(email="dora@example.org").role == "member"
    assert not User.objects.filter(email="eve@example.org").exists()


def test_an_account_that_came_first_wins(cast: Cast, client: Client):
    url = invitation(cast)
    User.objects.create(email="dora@example.org", name="Other", team=cast.ada.team)
    reply = accept(client, url)
    assert reply.status_code == 422
    assert "has an account already" in reply.content.decode()
    assert OneTimeLink.objects.get().used_at is None
    with pytest.raises(EmailTaken):
        invitation(cast)


def test_set_password_needs_a_link(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert client.get("/account/set-password/").status_code == 403
    assert client.post("/account/set-password/", {"password": NEW, "again": NEW}).status_code == 403
    assert User.objects.get(pk=cast.alice.pk).check_password(PASSWORD)


def test_one_link_sets_one_password(cast: Cast, client: Client):
    client.post(sign_in_link(cast))
    assert client.post("/account/set-password/", {"password": NEW, "again": "other"}).status_code == 422
    assert client.post("/account/set-password/", {"password": NEW, "again": NEW}).status_code == 302
    assert client.post("/account/set-password/", {"password": PASSWORD, "again": PASSWORD}).status_code == 403
