"""What somebody reads who may not do a thing."""

from django.test import Client

from tests.cast import Cast


def test_a_member_reads_whose_page_it_is(cast: Cast, client: Client):
    client.force_login(cast.alice)
    reply = client.get("/users/")
    assert reply.status_code == 403
    assert "This page is for administrators." in reply.content.decode()
    assert "Overview" in reply.content.decode()


def test_a_team_mate_reads_who_may(cast: Cast, client: Client):
    client.force_login(cast.bob)
    reply = client.post(f"/datasets/{cast.version.dataset_id}/delete/")
    assert "Only its owner and administrators may change a dataset." in reply.content.decode()


def test_a_stale_form_says_what_to_do(cast: Cast):
    reply = Client(enforce_csrf_checks=True).post("/sign-in/", {"email": "a@b.org", "password": "x"})
    assert reply.status_code == 403
    assert "send it again" in reply.content.decode()
