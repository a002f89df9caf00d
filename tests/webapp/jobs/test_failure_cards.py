"""The card of a failed job: every cause has one, with evidence, and with fixes that open the form changed."""

from typing import Any, get_args

import pytest
from django.utils.html import escape

from tests.cast import Cast
from tests.webapp.datasets.rows import give_rows
from tests.webapp.jobs.test_views import signed_in, text_of
from tests.webapp.jobs.work import PLAN, batch, claimed, log
from webapp.adapters.services import publish_adapter
from webapp.jobs.failure_cards import CAUSES, card_for, fix_named
from webapp.jobs.finish import finish_attempt
from webapp.jobs.fixes import MAKERS
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Job, JobStatus
from webapp.jobs.spec_fields import as_text
from worker.contract.events import FailureCause, LogWritten, MemorySampled, Replanned
from worker.contract.orders import Failed, Finish
from worker.contract.plan import PassPlan

EVERY = (*get_args(FailureCause), "worker_lost", "poison")


def failed_job(cast: Cast, cause: str, *, message: str = "It went wrong.", **more: Any) -> Job:
    """As stored; worker_lost and poison are the dashboard's own."""
    job, _ = claimed(cast)
    failure = {"cause": cause, "message": message, **more}
    Job.objects.filter(pk=job.pk).update(status=JobStatus.FAILED, failure=failure)
    job.refresh_from_db()
    return job


def test_every_cause_has_a_card():
    assert set(CAUSES) == set(EVERY)


def test_every_fix_that_a_card_names_can_be_made():
    assert {key for cause in CAUSES.values() for key in cause.fixes} == set(MAKERS)


@pytest.mark.parametrize("cause", EVERY)
def test_it_opens_on_the_cause_and_says_what_to_change(cast: Cast, cause: str):
    job = failed_job(cast, cause)
    page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
    card = card_for(job)
    assert all(text in page for text in ("It went wrong.", "What to change", f"<code>{cause}</code>"))
    assert card.advice
    assert card.retry or card.fixes or cause in ("bad_data", "bad_config")  # whose message says which; this one says nothing


@pytest.mark.parametrize("cause", EVERY)
def test_every_fix_opens_the_form_with_its_change_named(cast: Cast, cause: str):
    told = {"bad_data": "No token of any row is trained.", "bad_config": "The chat template, bf16 and a target module do not fit."}
    job = failed_job(cast, cause, message=told.get(cause, "It went wrong."))
    for fix in card_for(job).fixes:
        reply = signed_in(cast.alice).get(f"/jobs/new?clone={job.pk}&fix={fix.key}")
        form = reply.context["form"]
        for path, value in fix.changes.items():
            name = "method" if path == "quantization.kind" else path
            assert as_text(form[name].value()) == as_text(value), path
        assert escape(fix.label) in reply.content.decode()
        assert reply.context["preview"].problems == []


def test_a_fix_that_is_not_offered_changes_nothing_and_says_so(cast: Cast):
    job = failed_job(cast, "diverged")
    assert fix_named(job, "use-qlora") is None
    reply = signed_in(cast.alice).get(f"/jobs/new?clone={job.pk}&fix=use-qlora")
    assert "is not among those offered" in reply.content.decode()
    assert reply.context["form"]["optimizer.learning_rate"].value() == "0.0002"


def test_the_form_remembers_what_it_is_a_copy_of(cast: Cast):
    job = failed_job(cast, "diverged")
    client = signed_in(cast.alice)
    form = client.get(f"/jobs/new?clone={job.pk}&fix=lower-rate").context["form"]
    sent = {name: form[name].value() for name in form.fields}
    values = {name: "on" if value is True else value for name, value in sent.items() if value not in (None, False)}
    assert client.post("/jobs/new", values).status_code == 302
    copy = Job.objects.latest("pk")
    assert (copy.cloned_from, copy.spec["optimizer"]["learning_rate"], copy.name) == (job, 2e-5, "first (copy)")


def test_a_job_that_one_may_not_see_is_no_origin(cast: Cast):
    job = failed_job(cast, "diverged")
    client = signed_in(cast.charlie)
    assert client.get(f"/jobs/new?clone={job.pk}&fix=lower-rate").status_code == 404


@pytest.mark.parametrize(
    ("message", "fixes"),
    [
        ("The dataset file is not the version that the job names.", ()),
        ("None of the 8 rows has a trained token left within 512 tokens.", ("whole-rows", "longer-rows")),
    ],
)
def test_data_fixes_are_offered_for_what_they_mend(cast: Cast, message: str, fixes: tuple[str, ...]):
    assert tuple(fix.key for fix in card_for(failed_job(cast, "bad_data", message=message)).fixes) == fixes


def test_the_log_around_the_error_is_shown(cast: Cast):
    job, attempt = claimed(cast)
    words = [log(f"line {number}") for number in range(30)]
    store_batch(attempt, batch(attempt, *words, LogWritten(level="error", text="boom <b>here</b>"), log("after")))
    end = Failed(cause="internal", message="It broke.")
    finish_attempt(attempt, Finish(fence=attempt.fence, last_seq=32, end=end), publish=publish_adapter)
    lines = [line["text"] for line in card_for(Job.objects.get(pk=job.pk)).log]
    assert lines[-2:] == ["boom <b>here</b>", "after"]
    assert "line 2" not in lines
    assert "boom &lt;b&gt;here&lt;/b&gt;" in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")


def test_the_rows_at_fault_are_shown_cut_and_escaped(cast: Cast):
    turn = {"role": "user", "content": "<script>alert(1)</script> " + "long " * 100}
    answer = {"role": "assistant", "content": "c"}
    rows = [{"messages": [{"role": "user", "content": f"{n}"}, answer]} for n in range(5000)]
    rows[4499] = {"messages": [turn, answer]}
    give_rows(cast.version, rows)
    job = failed_job(cast, "diverged", rows=[2, 4500, 9999])
    found = card_for(job).rows
    assert [row.line for row in found.shown] == [2, 4500]
    assert found.others == (9999,)
    assert found.shown[0].parts == (("user", "1"), ("assistant", "c"))
    assert found.shown[1].parts[0][1].endswith("…")
    page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_rows_of_a_file_that_is_gone_are_named(cast: Cast):
    job = failed_job(cast, "diverged", rows=[7])
    assert card_for(job).rows.others == (7,)
    assert "line 7" in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")


def used(gib: int, second: int) -> MemorySampled:
    return MemorySampled(step=0, rss_bytes=1, cuda_allocated_bytes=gib << 30, card_used_bytes=gib << 30, card_total_bytes=80 << 30)


def test_memory_is_drawn_against_the_card(cast: Cast):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, *(used(20 * n, n) for n in range(1, 5))))
    Job.objects.filter(pk=job.pk).update(status="failed", failure={"cause": "out_of_memory", "message": "Full."})
    curve = card_for(Job.objects.get(pk=job.pk)).memory
    assert curve is not None
    assert (curve.what, curve.peak_bytes, curve.limit_bytes) == ("GPU memory", 80 << 30, 80 << 30)
    assert curve.path.count("L") == 3
    assert "<svg" in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")


def test_smaller_passes_that_were_tried_are_not_offered_again(cast: Cast):
    job, attempt = claimed(cast)
    asked = PassPlan(per_device_train_batch_size=4, gradient_accumulation_steps=1, activation_checkpointing=True)
    least = PassPlan(per_device_train_batch_size=1, gradient_accumulation_steps=4, activation_checkpointing=True)
    why = "CUDA ran out of memory at step 12"
    store_batch(attempt, batch(attempt, PLAN, Replanned(before=asked, after=least, from_step=0, why=why)))
    Job.objects.filter(pk=job.pk).update(status="failed", failure={"cause": "out_of_memory", "message": "Full."})
    assert "smaller-passes" not in {fix.key for fix in card_for(Job.objects.get(pk=job.pk)).fixes}


def test_a_failure_of_an_older_version_has_a_card(cast: Cast):
    job = failed_job(cast, "cause_of_long_ago", message="Once upon a time.")
    assert card_for(job).cause == "internal"
    Job.objects.filter(pk=job.pk).update(failure=None)
    assert "Something nobody foresaw." in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
