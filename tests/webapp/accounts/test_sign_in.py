"""Signing in and out: one message for every wrong pair, a pause for those who guess."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from tests.cast import PASSWORD, Cast
from webapp.accounts.models import SignInAttempt, User
from webapp.accounts.throttle import FAILURES, WINDOW

URL = "/sign-in/"


def sign_in(client: Client, *, email: str, password: str, **more: str):
    return client.post(URL, {"email": email, "password": password, **more})


def test_it_works(cast: Cast, client: Client):
    reply = sign_in(client, email=" Alice@Example.org ", password=PASSWORD)
    assert (reply.status_code, reply["Location"]) == (302, "/")
    assert client.get("/account/").status_code == 200


def test_it_goes_on_to_the_page_that_was_wanted(cast: Cast, client: Client):
    wanted = client.get("/datasets/")["Location"]
    assert wanted == "/sign-in/?next=/datasets/"
    assert b'value="/datasets/"' in client.get(wanted).content
    assert sign_in(client, email=cast.alice.email, password=PASSWORD, next="/datasets/")["Location"] == "/datasets/"


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example/", "javascript:alert(1)", "/\\evil.example"])
def test_it_never_leads_elsewhere(cast: Cast, client: Client, wanted: str):
    assert sign_in(client, email=cast.alice.email, password=PASSWORD, next=wanted)["Location"] == "/"


def test_no_message_tells_which_of_the_two_was_wrong(cast: Cast, client: Client):
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    replies = [
        sign_in(client, email=cast.alice.email, password="wrong"),
        sign_in(client, email="nobody@example.org", password=PASSWORD),
        sign_in(client, email=cast.bob.email, password=PASSWORD),
    ]
    assert [reply.status_code for reply in replies] == [401, 401, 401]
    assert len({reply.context["error"] for reply in replies}) == 1
    assert "_auth_user_id" not in client.session


def test_bad_input_is_shown_at_its_field(cast: Cast, client: Client):
    reply = sign_in(client, email="no address", password="")
    assert reply.status_code == 422
    assert set(reply.context["form"].errors) == {"email", "password"}


def test_ten_failures_make_a_pause(cast: Cast, client: Client):
    codes = [sign_in(client, email=cast.alice.email, password="wrong").status_code for _ in range(FAILURES)]
    assert codes == [401] * FAILURES
    refused = sign_in(client, email=cast.alice.email, password=PASSWORD)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= WINDOW.total_seconds()
    assert "Too many attempts" in refused.content.decode()
    assert "_auth_user_id" not in client.session


def test_the_pause_is_for_one_address_and_one_e_mail(cast: Cast, client: Client):
    for _ in range(FAILURES + 1):
        sign_in(client, email=cast.alice.email, password="wrong")
    assert sign_in(client, email=cast.bob.email, password=PASSWORD).status_code == 302
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert sign_in(elsewhere, email=cast.alice.email, password=PASSWORD).status_code == 302


def test_a_forged_forwarding_header_is_no_way_round(cast: Cast, client: Client):
    for number in range(FAILURES):
        client.post(URL, {"email": cast.alice.email, "password": "wrong"}, HTTP_X_FORWARDED_FOR=f"192.0.2.{number}")
    refused = client.post(URL, {"email": cast.alice.email, "password": PASSWORD}, HTTP_X_FORWARDED_FOR="192.0.2.99")
    assert refused.status_code == 429


def test_the_pause_ends(cast: Cast, client: Client):
    for _ in range(FAILURES):
        sign_in(client, email=cast.alice.email, password="wrong")
    SignInAttempt.objects.update(at=timezone.now() - WINDOW - timedelta(seconds=1))
    assert sign_in(client, email=cast.alice.email, password=PASSWORD).status_code == 302
    assert not SignInAttempt.objects.exists()


def test_signing_in_forgets_earlier_failures(cast: Cast, client: Client):
    for _ in range(FAILURES - 1):
        sign_in(client, email=cast.alice.email, password="wrong")
    assert sign_in(client, email=cast.alice.email, password=PASSWORD).status_code == 302
    client.post("/sign-out/")
    assert sign_in(client, email=cast.alice.email, password="wrong").status_code == 401


def test_signing_out_ends_the_session(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert client.get("/sign-out/").status_code == 405
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert client.get("/account/").status_code == 302
    assert not Session.objects.exists()


def test_a_form_from_elsewhere_is_refused(cast: Cast):
    strict = Client(enforce_csrf_checks=True)
    assert sign_in(strict, email=cast.alice.email, password=PASSWORD).status_code == 403


def test_whoever_is_signed_in_is_sent_on(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert client.get(URL)["Location"] == "/"
