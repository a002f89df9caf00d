"""The two buttons: Submit as LoRA/QLoRA pair on the form, Run its LoRA twin on a job's page."""

import re
from typing import Any

from tests.cast import Cast
from tests.webapp.jobs.test_views import signed_in, text_of
from tests.webapp.jobs.work import claimed, submitted
from webapp.jobs.forms import default_settings
from webapp.jobs.models import Job


def posted(cast: Cast, **more: Any) -> dict[str, Any]:
    chosen = {"name": "tone", "base_model": cast.base_model.pk, "dataset_version": cast.version.pk, "pool": cast.pool.pk}
    about = {"priority": "20", "method": "bitsandbytes_4bit", "pair": "a-word"}
    usual = {name: value for name, value in default_settings().items() if value not in (None, False)}
    return {**usual, **chosen, **about, **more}


class TestPairOfTheForm:
    def test_the_button_has_a_word_of_its_own(self, cast: Cast):
        alice = signed_in(cast.alice)
        words = [re.search(r'formaction="/jobs/pair" name="pair" value="(\w{32})"', text_of(alice, "/jobs/new")) for _ in "12"]
        assert all(words)
        assert words[0].group(1) != words[1].group(1)  # type: ignore[union-attr]

    def test_it_makes_both_and_compares_them(self, cast: Cast):
        answer = signed_in(cast.alice).post("/jobs/pair", posted(cast))
        lora, qlora = Job.objects.order_by("pk")
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/compare/?jobs={lora.pk},{qlora.pk}")
        assert (lora.name, qlora.name, qlora.paired_with) == ("tone · LoRA", "tone · QLoRA", lora)

    def test_a_double_click_is_one_pair(self, cast: Cast):
        alice = signed_in(cast.alice)
        places = {alice.post("/jobs/pair", posted(cast)).headers["Location"] for _ in range(2)}
        assert (len(places), Job.objects.count()) == (1, 2)

    def test_going_back_and_changing_a_setting_is_another_pair(self, cast: Cast):
        alice = signed_in(cast.alice)
        alice.post("/jobs/pair", posted(cast))
        alice.post("/jobs/pair", posted(cast, **{"lora.r": "8"}))
        assert Job.objects.count() == 4

    def test_what_is_wrong_is_said_on_the_form(self, cast: Cast):
        answer = signed_in(cast.alice).post("/jobs/pair", posted(cast, **{"lora.r": "0"}))
        assert answer.status_code == 422
        assert 'name="lora.r" value="0"' in answer.content.decode()
        assert not Job.objects.exists()

    def test_another_teams_dataset_is_refused(self, cast: Cast):
        assert signed_in(cast.charlie).post("/jobs/pair", posted(cast)).status_code == 422
        assert not Job.objects.exists()

    def test_looking_makes_nothing_and_leads_to_the_form(self, cast: Cast):
        answer = signed_in(cast.alice).get("/jobs/pair")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/jobs/new")
        assert not Job.objects.exists()

    def test_only_reading_and_sending_are_ways_to_ask(self, cast: Cast):
        assert signed_in(cast.alice).put("/jobs/pair").status_code == 405


class TestTwinOfAJob:
    def test_a_running_job_offers_it(self, cast: Cast):
        job, _ = claimed(cast)
        bob = signed_in(cast.bob)
        assert "Run its LoRA twin" in text_of(bob, f"/jobs/{job.pk}/")
        answer = bob.post(f"/jobs/{job.pk}/twin")
        twin = Job.objects.get(paired_with=job)
        assert answer.headers["Location"] == f"/jobs/{twin.pk}/"
        assert f"/compare/?jobs={twin.pk},{job.pk}" in text_of(bob, f"/jobs/{job.pk}/")
        assert "Run its LoRA twin" not in text_of(bob, f"/jobs/{job.pk}/")

    def test_8_bits_are_asked_about_and_stand_second_too(self, cast: Cast):
        job, _ = claimed(cast)
        Job.objects.filter(pk=job.pk).update(spec={**job.spec, "quantization": {"kind": "bitsandbytes_8bit"}})
        bob = signed_in(cast.bob)
        assert "What do the 8 bits save" in text_of(bob, f"/jobs/{job.pk}/")
        bob.post(f"/jobs/{job.pk}/twin")
        twin = Job.objects.get(paired_with=job)
        for page in (job, twin):
            assert f"/compare/?jobs={twin.pk},{job.pk}" in text_of(bob, f"/jobs/{page.pk}/")

    def test_a_waiting_job_does_not(self, cast: Cast):
        assert "Run its" not in text_of(signed_in(cast.alice), f"/jobs/{submitted(cast).pk}/")

    def test_another_team_finds_nothing(self, cast: Cast):
        job, _ = claimed(cast)
        assert signed_in(cast.charlie).post(f"/jobs/{job.pk}/twin").status_code == 404
        assert Job.objects.count() == 1

    def test_an_administrator_elsewhere_reads_why_not(self, cast: Cast):
        job, _ = claimed(cast)
        assert "Only members of team Research run its twin" in text_of(signed_in(cast.ada), f"/jobs/{job.pk}/")
        page = signed_in(cast.ada).post(f"/jobs/{job.pk}/twin", follow=True).content.decode()
        assert "Only members of team Research" in page
        assert Job.objects.count() == 1

    def test_looking_makes_nothing(self, cast: Cast):
        job, _ = claimed(cast)
        assert signed_in(cast.alice).get(f"/jobs/{job.pk}/twin").status_code == 405
