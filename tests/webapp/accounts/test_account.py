"""The own account: name and password."""

import pytest
from django.test import Client

from tests.cast import PASSWORD, Cast
from webapp.accounts.models import User

NEW = "a very long new one"


def change(client: Client, **changes: str):
    return client.post("/account/password/", {"old": PASSWORD, "password": NEW, "again": NEW, **changes})


def test_it_works(cast: Cast, client: Client):
    client.force_login(cast.alice)
    page = client.get("/account/").content.decode()
    assert "Bob" in page
    assert "Charlie" not in page
    assert client.post("/account/name/", {"name": "Alice B."})["Location"] == "/account/"
    assert User.objects.get(pk=cast.alice.pk).name == "Alice B."


def test_a_new_password_ends_other_sessions(cast: Cast, client: Client):
    other = Client()
    client.force_login(cast.alice)
    other.force_login(cast.alice)
    assert change(client).status_code == 302
    assert client.get("/account/").status_code == 200
    assert other.get("/account/").status_code == 302
    assert User.objects.get(pk=cast.alice.pk).check_password(NEW)


def test_the_old_password_must_be_right(cast: Cast, client: Client):
    client.force_login(cast.alice)
    reply = change(client, old="wrong")
    assert reply.status_code == 422
    assert reply.context["password_form"].errors["old"] == ["That is not your present password."]
    assert User.objects.get(pk=cast.alice.pk).check_password(PASSWORD)


def test_a_weak_password_is_refused(cast: Cast, client: Client):
    client.force_login(cast.alice)
    for weak in ("short", "password123456", "alice@example.org"):
        assert change(client, password=weak, again=weak).status_code == 422
    assert User.objects.get(pk=cast.alice.pk).check_password(PASSWORD)


def test_an_empty_name_is_refused(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert client.post("/account/name/", {"name": "\u200b \n"}).status_code == 422
    assert User.objects.get(pk=cast.alice.pk).name == "Alice"


def test_a_stranger_has_no_account(cast: Cast, client: Client):
    assert client.get("/account/")["Location"].startswith("/sign-in/")
    assert client.post("/account/name/", {"name": "Eve"})["Location"].startswith("/sign-in/")


def test_a_hub_token_is_kept_encrypted_and_never_shown(cast: Cast, client: Client):
    from django.db import connection

    client.force_login(cast.alice)
    assert client.post("/account/hub-token/", {"hub_token": " hf_canary123 "}).status_code == 302
    cast.alice.refresh_from_db()
    assert cast.alice.hub_token == "hf_canary123"
    with connection.cursor() as cursor:
        cursor.execute("SELECT hub_token FROM accounts_user")
        assert "canary" not in str(cursor.fetchall())
    page = client.get("/account/").content.decode()
    assert "Token set" in page
    assert "canary" not in page
    client.post("/account/hub-token/", {"remove": "1"})
    cast.alice.refresh_from_db()
    assert not cast.alice.hub_token


@pytest.mark.parametrize("token", ["", "secret", "hf_a b", "hf_\nx", "hf_" + "x" * 300])
def test_what_is_no_hub_token(cast: Cast, client: Client, token: str):
    client.force_login(cast.alice)
    assert client.post("/account/hub-token/", {"hub_token": token}).status_code == 422
    cast.alice.refresh_from_db()
    assert not cast.alice.hub_token
