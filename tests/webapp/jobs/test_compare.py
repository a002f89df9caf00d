"""The Compare page: whose jobs, which figures, what differs, and what its address keeps."""

import csv
import hashlib
import io
from typing import Any

import pytest

from tests.cast import Cast
from tests.webapp.jobs.test_pairs import changed, pair
from tests.webapp.jobs.test_views import signed_in, text_of
from tests.webapp.jobs.work import PLAN, RESULTS, batch, claim, claimed, metrics, submitted
from webapp.adapters.services import publish_adapter
from webapp.jobs.comparison import Asked, Comparison, View
from webapp.jobs.comparison_csv import harmless
from webapp.jobs.finish import finish_attempt, incoming_folder
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Attempt, Job
from worker.contract.events import MemorySampled, MetricsLogged, Results, TrainingEnded
from worker.contract.orders import ArtifactFile, Finish, Succeeded
from worker.contract.plan import ExecutionPlan, PassPlan

GIB = 2**30


def finished(cast: Cast, job: Job, *, seconds: float, peak: float, rows: int = 400, unpacked: float = 0) -> Job:
    """Claimed, trained and published, with these figures of a GPU."""
    order = claim(cast)
    assert order is not None
    assert order.job_id == job.pk
    attempt = Attempt.objects.select_related("worker", "job").get(pk=order.attempt_id)
    known = {"train_seconds": seconds, "epochs": 1.0, "tokens_seen": 76_000, "eval_loss": 0.7, "final_loss": 0.6, "steps": 100}
    memory = {"peak_memory_bytes": int(peak * GIB), "peak_memory_of": "cuda_allocated"}
    results = Results.model_validate({**RESULTS.model_dump(), **known, **memory})
    parts = {"linear_weights": int((peak - unpacked) * 0.98 * GIB), "dequantised_layer": int(unpacked * 0.98 * GIB)}
    passes = PassPlan(per_device_train_batch_size=16, gradient_accumulation_steps=1, activation_checkpointing=False)
    execution = ExecutionPlan(kind="packed", passes=passes, unpacked_layers=32 if unpacked else 0)
    plan = PLAN.model_copy(update={"train_rows": rows, "memory_parts": parts, "execution": execution})
    store_batch(attempt, batch(attempt, plan, metrics(1), TrainingEnded(outcome="finished", results=results)))
    end = Succeeded(outcome="finished", results=results, files=(weights_of(attempt),))
    finish_attempt(attempt, Finish(fence=attempt.fence, last_seq=3, end=end), publish=publish_adapter)
    job.refresh_from_db()
    return job


def weights_of(attempt: Attempt) -> ArtifactFile:
    folder, content = incoming_folder(attempt), b"weights"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return ArtifactFile(name="adapter_model.safetensors", size_bytes=len(content), sha256=digest)


def seeds_pair(cast: Cast) -> tuple[Job, Job]:
    made = pair(cast)
    return finished(cast, made.lora, seconds=120, peak=21.5), finished(cast, made.qlora, seconds=155, peak=10.8)


def compared(user: Any, *jobs: Job) -> Comparison:
    return Comparison(user, Asked(tuple(job.pk for job in jobs), ()), View())


def cells(comparison: Comparison, title: str) -> list[tuple[str, str]]:
    row = next(row for row in comparison.rows if row.title == title)
    return [(cell.text, cell.ratio) for cell in row.cells]


class TestFigures:
    def test_the_table_of_a_pair(self, cast: Cast):
        told = compared(cast.alice, *seeds_pair(cast))
        assert cells(told, "Peak GPU memory") == [("21.5 GiB", ""), ("10.8 GiB", "0.50 ×")]
        assert cells(told, "Training time") == [("2 min 00 s", ""), ("2 min 35 s", "1.29 ×")]
        assert cells(told, "Samples/s") == [("3.33", ""), ("2.58", "0.77 ×")]
        assert cells(told, "Tokens/s") == [("633", ""), ("490", "0.77 ×")]
        assert cells(told, "Eval loss") == [("0.700", ""), ("0.700", "")]
        assert cells(told, "Trained parameters") == [("10", ""), ("10", "")]
        notes = [cell.note for cell in told.rows[0].cells]
        assert notes == ["estimate 21.1 GiB, 2.0 % too low", "estimate 10.6 GiB, 2.0 % too low"]
        assert told.verdict == (
            "QLoRA took 0.50 × the GPU memory of LoRA (10.8 GiB against 21.5 GiB) and trained at 0.77 × its speed "
            "(2.58 against 3.33 samples/s). Its eval loss is 0.700 against 0.700."
        )

    def test_memory_that_was_taken_for_speed_is_told(self, cast: Cast):
        made = pair(cast)
        lora = finished(cast, made.lora, seconds=120, peak=28.5)
        told = compared(cast.alice, lora, finished(cast, made.qlora, seconds=125, peak=31.6, unpacked=12))
        assert told.rows[0].cells[1].note.startswith("11.8 GiB of it weights kept unpacked, as there was room; estimate 31.0 GiB")
        assert "(31.6 GiB against 28.5 GiB; 11.8 GiB of QLoRA's are weights kept unpacked, as there was room)" in told.verdict
        assert told.rows[0].cells[0].note == "estimate 27.9 GiB, 2.0 % too low"

    def test_only_the_precision_differs_in_words(self, cast: Cast):
        (row,) = compared(cast.alice, *pair(cast).jobs).differences
        assert (row.title, row.values) == (
            "Base model is kept in",
            ("16 bits (bf16), not quantised", "4 bits (NF4, double quantisation), computed in bf16"),
        )

    def test_other_settings_have_their_title_and_name(self, cast: Cast):
        jobs = pair(cast).lora, pair(cast, wanted=changed(lora={"r": 8})).lora
        (row,) = compared(cast.alice, *jobs).differences
        assert (row.title, row.name, row.values) == ("Rank (r)", "lora.r", ("16", "8"))

    def test_a_running_job_has_figures_so_far_and_no_ratio(self, cast: Cast):
        done = finished(cast, submitted(cast), seconds=100, peak=10)
        job, attempt = claimed(cast)
        running = MetricsLogged(step=1, epoch=0.1, loss=2.0, tokens_per_second=450.0)
        store_batch(attempt, batch(attempt, PLAN, running, MemorySampled(step=1, rss_bytes=1, cuda_peak_bytes=GIB)))
        job.refresh_from_db()
        told = compared(cast.alice, done, job)
        assert cells(told, "Tokens/s")[1] == ("450", "")
        assert cells(told, "Samples/s")[1] == ("4.00", "")  # 8 rows of 900 tokens in all
        assert cells(told, "Peak GPU memory")[1] == ("1.0 GiB", "")
        assert (told.running, told.verdict) == ([job], "")

    def test_memory_of_a_cpu_is_another_row(self, cast: Cast):
        done = finished(cast, submitted(cast), seconds=100, peak=10)
        job, attempt = claimed(cast)
        store_batch(attempt, batch(attempt, PLAN, metrics(1), MemorySampled(step=1, rss_bytes=3 * GIB)))
        job.refresh_from_db()
        told = compared(cast.alice, done, job)
        assert cells(told, "Peak GPU memory") == [("10.0 GiB", ""), ("–", "")]
        assert cells(told, "Peak memory of the trainer") == [("–", ""), ("3.0 GiB", "")]


class TestPage:
    def test_it_shows_both_columns(self, cast: Cast):
        lora, qlora = seeds_pair(cast)
        page = text_of(signed_in(cast.bob), f"/compare/?jobs={lora.pk},{qlora.pk}")
        assert lora.name in page
        assert "0.50 ×" in page
        assert "What differs" in page

    def test_a_job_of_another_version_is_left_out_and_told(self, cast: Cast):
        lora, qlora = seeds_pair(cast)
        Job.objects.filter(pk=qlora.pk).update(spec={**qlora.spec, "quantization": {"kind": "of a later version"}})
        bob = signed_in(cast.bob)
        page = text_of(bob, f"/compare/?jobs={lora.pk},{qlora.pk}")
        assert f"The settings of #{qlora.pk} are of another version" in page
        assert "Peak GPU memory" in page
        assert bob.get(f"/compare/table.csv?jobs={lora.pk},{qlora.pk}").content.decode().count("\r\n") == 2
        assert "LoRA against QLoRA" in text_of(bob, f"/jobs/{lora.pk}/"), "the other one's page stands"

    def test_another_teams_jobs_are_left_out_and_told(self, cast: Cast):
        job = submitted(cast)
        page = text_of(signed_in(cast.charlie), f"/compare/?jobs={job.pk}")
        assert f"#{job.pk} is not there, or not your team" in page
        assert job.name not in page

    def test_an_administrator_sees_every_team(self, cast: Cast):
        assert "first" in text_of(signed_in(cast.ada), f"/compare/?jobs={submitted(cast).pk}")

    @pytest.mark.parametrize(
        "query", ["", "?jobs=", "?jobs=0", "?jobs=x,1e3,-4", f"?jobs={'9' * 30}", "?jobs=,,&by=moon&log=2", "?jobs=%00"]
    )
    def test_nonsense_is_no_error(self, cast: Cast, query: str):
        assert "Run a LoRA/QLoRA pair" in text_of(signed_in(cast.alice), f"/compare/{query}")

    def test_what_cannot_be_read_is_told_and_never_markup(self, cast: Cast):
        page = text_of(signed_in(cast.alice), "/compare/?jobs=<b>x")
        assert "not the number of a job" in page
        assert "<b>x" not in page

    def test_six_are_the_most(self, cast: Cast):
        jobs = [submitted(cast, name=f"job-{place}") for place in range(7)]
        page = text_of(signed_in(cast.alice), f"/compare/?jobs={','.join(str(job.pk) for job in jobs)}")
        assert f"At most 6 jobs stand side by side: #{jobs[6].pk} left out." in page
        assert page.count('class="compared-name"') == 6

    def test_a_form_without_scripts_becomes_one_address(self, cast: Cast):
        one, other = submitted(cast), submitted(cast)
        answer = signed_in(cast.alice).get(f"/compare/?jobs={other.pk}&jobs={one.pk}&by=time")
        assert answer.headers["Location"] == f"/compare/?jobs={other.pk},{one.pk}&by=time"

    def test_its_address_keeps_how_curves_are_drawn(self, cast: Cast):
        one, other = submitted(cast), submitted(cast)
        told = signed_in(cast.alice).get(f"/compare/?jobs={one.pk},{other.pk}&by=tokens&log=1&smooth=0").context["comparison"]
        assert told.live["view"] == {"by": "tokens", "log": True, "smooth": False}
        assert told.columns[0].without == f"/compare/?jobs={other.pk}&by=tokens&log=1&smooth=0"

    def test_jobs_that_run_are_named(self, cast: Cast):
        job, _ = claimed(cast)
        waiting = submitted(cast, name="second")
        page = text_of(signed_in(cast.alice), f"/compare/?jobs={job.pk},{waiting.pk}")
        assert "is starting" in page
        assert "waits in the queue" in page

    def test_past_pairs_are_offered(self, cast: Cast):
        made = pair(cast)
        address = f"/compare/?jobs={made.lora.pk},{made.qlora.pk}"
        assert address in text_of(signed_in(cast.alice), "/compare/")
        assert address not in text_of(signed_in(cast.charlie), "/compare/")

    def test_it_is_in_the_navigation(self, cast: Cast):
        assert 'href="/compare/"' in text_of(signed_in(cast.alice), "/jobs/")


class TestTable:
    def test_it_has_plain_numbers(self, cast: Cast):
        jobs = seeds_pair(cast)
        answer = signed_in(cast.alice).get(f"/compare/table.csv?jobs={jobs[0].pk},{jobs[1].pk}")
        lines = list(csv.DictReader(io.StringIO(answer.content.decode())))
        assert [(line["method"], line["peak_bytes"], line["seconds"]) for line in lines] == [
            ("LoRA", str(int(21.5 * GIB)), "120.0"),
            ("QLoRA", str(int(10.8 * GIB)), "155.0"),
        ]

    def test_another_teams_jobs_are_not_in_it(self, cast: Cast):
        answer = signed_in(cast.charlie).get(f"/compare/table.csv?jobs={submitted(cast).pk}")
        assert len(answer.content.decode().splitlines()) == 1

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
    def test_no_text_is_a_formula(self, text: str):
        assert harmless(text) == f"'{text}"
        assert (harmless(-1.5), harmless(None), harmless("tone")) == (-1.5, "", "tone")

    def test_a_job_named_as_a_formula(self, cast: Cast):
        job = submitted(cast, name='=HYPERLINK("http://evil.example")')
        answer = signed_in(cast.alice).get(f"/compare/table.csv?jobs={job.pk}").content.decode()
        assert next(csv.DictReader(io.StringIO(answer)))["name"].startswith("'=HYPERLINK")
