"""The New job form through its address: opened, previewed, submitted, refused, cloned."""

from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.jobs.test_views import signed_in, text_of
from tests.webapp.jobs.work import submitted
from webapp.datasets.models import DatasetVersion
from webapp.jobs.models import Job, JobStatus
from webapp.pools.models import Worker
from worker.contract.spec import FinetuneSpec


def filled(cast: Cast, **changed: str) -> dict[str, str]:
    """The fields of the form as a browser sends them when nothing but the first five was touched."""
    choices = {"base_model": cast.base_model.pk, "dataset_version": cast.version.pk, "pool": cast.pool.pk}
    page = signed_in(cast.alice).get("/jobs/new").context["form"]
    values = {name: page[name].value() for name in page.fields}
    sent = {name: "on" if value is True else str(value) for name, value in values.items() if value not in (None, False)}
    return {**sent, "name": "mine", **{name: str(pk) for name, pk in choices.items()}, **changed}


def test_it_works(cast: Cast):
    answer = signed_in(cast.alice).post("/jobs/new", filled(cast))
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/jobs/{job.pk}/"
    assert (job.name, job.status, job.owner) == ("mine", JobStatus.QUEUED, cast.alice)
    spec = FinetuneSpec.model_validate(job.spec)
    assert (spec.method, spec.training.num_train_epochs, spec.base_model.name_or_path) == ("QLoRA", 3, "smollm2-135m-instruct")


def test_what_is_typed_is_what_is_trained(cast: Cast):
    typed = {
        "method": "none",
        "quantization.dtype": "float32",
        "training.num_train_epochs": "",
        "training.max_steps": "7",
        "lora.target_modules": "q_proj, v_proj",
        "optimizer.learning_rate": "5e-5",
        "training.bf16": "false",
    }
    signed_in(cast.alice).post("/jobs/new", filled(cast, **typed))
    spec = FinetuneSpec.model_validate(Job.objects.get().spec)
    assert spec.quantization.model_dump() == {"kind": "none", "load_in_4bit": False, "dtype": "float32"}
    assert (spec.training.max_steps, spec.training.num_train_epochs, spec.training.bf16) == (7, None, False)
    assert (spec.lora.target_modules, spec.optimizer.learning_rate) == (("q_proj", "v_proj"), 5e-5)


def test_an_unticked_box_is_off(cast: Cast):
    sent = filled(cast)
    del sent["quantization.bnb_4bit_use_double_quant"]
    signed_in(cast.alice).post("/jobs/new", sent)
    assert Job.objects.get().spec["quantization"]["bnb_4bit_use_double_quant"] is False


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("lora.r", "0", "Rank (r) must be at least 1."),
        ("lora.r", "1e9", "Rank (r) must be a whole number."),
        ("optimizer.learning_rate", "abc", "Learning rate must be a number, such as 2e-4 or 0.05."),
        ("optimizer.learning_rate", "nan", "Learning rate must be a finite number."),
        ("optimizer.learning_rate", "", "Learning rate must be a number, such as 2e-4 or 0.05."),
        ("lora.lora_dropout", "1", "Dropout must be less than 1."),
        ("optimizer.optim", "magic", "Optimizer must be one of those offered."),
        ("optimizer.warmup_steps", "2.5", "Give whole steps, or a share below 1."),
        ("training.num_train_epochs", "", "Give epochs or steps: without either the run would have no end."),
        ("training.max_length", "9000", "SmolLM2 135M Instruct reads at most 8,192 tokens."),
        ("lora.target_modules", "nothing_proj", "SmolLM2 135M Instruct has no layer named nothing_proj."),
        ("training.bf16", "maybe", "Select a valid choice."),
        ("name", "", "Give the job a name."),
        ("base_model", "", "Choose one."),
        ("dataset_version", "999", "This one cannot be chosen any more."),
    ],
)
def test_a_wrong_value_is_told_at_its_field(cast: Cast, field: str, typed: str, said: str):
    answer = signed_in(cast.alice).post("/jobs/new", filled(cast, **{field: typed}))
    assert answer.status_code == 422
    assert not Job.objects.exists()
    errors = answer.context["form"].errors
    assert list(errors) == [field]
    assert errors[field][0].startswith(said)
    assert said.split("(")[0] in answer.content.decode()
    if typed and field not in ("dataset_version", "optimizer.optim", "training.bf16"):
        assert f'value="{typed}"' in answer.content.decode()  # nothing that was typed is lost


def test_both_types_at_once_are_refused(cast: Cast):
    answer = signed_in(cast.alice).post("/jobs/new", filled(cast, **{"training.bf16": "true", "training.fp16": "true"}))
    assert answer.context["form"].errors == {"training.bf16": ["bf16 and fp16 exclude each other; choose one."]}


def test_a_dataset_of_another_team_cannot_be_chosen(cast: Cast):
    answer = signed_in(cast.charlie).post("/jobs/new", filled(cast))
    assert list(answer.context["form"].errors) == ["dataset_version"]
    assert not Job.objects.exists()
    assert "greetings" not in answer.content.decode()


def test_a_dataset_with_problems_is_not_offered(cast: Cast):
    DatasetVersion.objects.update(state="problems")
    assert "greetings v1" not in text_of(signed_in(cast.alice), "/jobs/new")


def test_a_stranger_signs_in_first(cast: Cast):
    assert Client().post("/jobs/new", {}).headers["Location"].startswith("/sign-in/")
    assert Client().post("/jobs/preview", {}).headers["Location"].startswith("/sign-in/")


def test_nothing_at_all_is_refused_in_words(cast: Cast):
    answer = signed_in(cast.alice).post("/jobs/new", {})
    assert answer.status_code == 422
    assert {"name", "base_model", "dataset_version", "pool", "method"} <= set(answer.context["form"].errors)


class TestPrefill:
    def test_the_example_can_be_submitted_as_it_is(self, cast: Cast):
        page = signed_in(cast.alice).get("/jobs/new?example=1")
        assert page.context["preview"].problems == []
        form = page.context["form"]
        assert (form["base_model"].value(), form["dataset_version"].value()) == (cast.base_model.pk, cast.version.pk)

    def test_a_clone_has_the_same_settings(self, cast: Cast):
        job = submitted(cast)
        form = signed_in(cast.bob).get(f"/jobs/new?clone={job.pk}").context["form"]
        assert form["name"].value() == "first (copy)"
        assert (form["training.max_steps"].value(), form["training.num_train_epochs"].value()) == ("3", "")

    @pytest.mark.parametrize("clone", ["999", "1"])
    def test_a_job_one_may_not_see_cannot_be_cloned(self, cast: Cast, clone: str):
        submitted(cast)
        assert signed_in(cast.charlie).get(f"/jobs/new?clone={clone}").status_code == 404

    def test_nonsense_in_the_address_is_no_choice(self, cast: Cast):
        assert signed_in(cast.alice).get("/jobs/new?clone=x&model=y&dataset=-1").status_code == 200


class TestPreview:
    def post(self, cast: Cast, **changed: str) -> Any:
        answer = signed_in(cast.alice).post("/jobs/preview", filled(cast, **changed))
        assert answer.status_code == 200
        return answer

    def test_it_does_the_arithmetic(self, cast: Cast):
        changed = {"training.per_device_train_batch_size": "2", "training.gradient_accumulation_steps": "2"}
        preview = self.post(cast, **changed).context["preview"]
        assert preview.spec.training.effective_batch == 4
        assert (preview.steps, preview.steps_arithmetic) == (6, "8 rows ÷ 4 × 3 epochs")  # 8 rows of the cast's dataset
        assert "lora_alpha: 32" in preview.yaml

    def test_held_out_rows_are_not_trained_on(self, cast: Cast):
        assert self.post(cast, **{"data.eval_share": "0.5"}).context["preview"].steps == 3

    def test_steps_win_over_epochs(self, cast: Cast):
        assert self.post(cast, **{"training.max_steps": "20"}).context["preview"].steps == 20

    def test_it_says_who_takes_the_job(self, cast: Cast):
        assert "1 worker online; takes it at once." in self.post(cast).content.decode()

    def test_it_says_when_nobody_would(self, cast: Cast):
        Worker.objects.update(last_seen_at=None)
        assert "No worker of pool local is online." in self.post(cast).content.decode()

    def test_it_lists_what_blocks(self, cast: Cast):
        page = self.post(cast, **{"lora.r": "0"}).content.decode()
        assert "Rank (r) must be at least 1." in page
        assert not Job.objects.exists()

    def test_it_stores_nothing(self, cast: Cast):
        self.post(cast)
        assert not Job.objects.exists()

    def test_looking_is_not_previewing(self, cast: Cast):
        assert signed_in(cast.alice).get("/jobs/preview").status_code == 405
