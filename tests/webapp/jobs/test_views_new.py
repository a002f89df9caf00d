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
    ("chosen", "method", "kind", "trained"),
    [
        ("bitsandbytes_4bit", "QLoRA", "bitsandbytes_4bit", "lora"),
        ("bitsandbytes_8bit", "LoRA on 8 bits", "bitsandbytes_8bit", "lora"),
        ("none", "LoRA", "none", "lora"),
        ("full", "Full fine-tuning", "none", "full"),
    ],
)
def test_each_method_is_what_it_says(cast: Cast, chosen: str, method: str, kind: str, trained: str):
    signed_in(cast.alice).post("/jobs/new", filled(cast, method=chosen))
    spec = FinetuneSpec.model_validate(Job.objects.get().spec)
    assert (spec.method, spec.quantization.kind, spec.finetuning_type) == (method, kind, trained)


def test_what_is_not_asked_for_does_not_count(cast: Cast):
    """Left over in its control from another choice, or never filled in: the default stands in the spec."""
    left_over = {
        "method": "full",
        "lora.r": "999",
        "lora.target_modules": "nothing_proj",
        "objective.beta": "not a number",
        "plan.fsdp": "on",
        "training.early_stopping_threshold": "nonsense",
    }
    answer = signed_in(cast.alice).post("/jobs/new", filled(cast, **left_over))
    assert answer.status_code == 302, answer.context["form"].errors
    spec = FinetuneSpec.model_validate(Job.objects.get().spec)
    assert (spec.lora.r, spec.plan.fsdp, spec.objective.kind) == (16, False, "sft")


@pytest.mark.parametrize(
    ("objective", "rows", "blocks"),
    [("sft", "text", ""), ("dpo", "preference", ""), ("kto", "preference", ""), ("dpo", "messages", "DPO learns from pairs")],
)
def test_an_objective_takes_the_rows_that_it_can_learn_from(cast: Cast, objective: str, rows: str, blocks: str):
    DatasetVersion.objects.update(format=rows)
    sent = filled(cast, objective=objective)
    preview = signed_in(cast.alice).post("/jobs/preview", sent).context
    answer = signed_in(cast.alice).post("/jobs/new", sent)
    assert answer.status_code == (422 if blocks else 302)
    if not blocks:
        assert Job.objects.get().spec["objective"]["kind"] == objective
        return
    (problem,) = preview["preview"].problems
    assert problem.path == "dataset_version"
    assert problem.sentence.startswith(blocks)
    assert answer.context["form"].errors["dataset_version"][0].endswith("Choose another dataset, or SFT for this one.")
    assert preview["preview"].steps  # the rest of the preview stands


@pytest.mark.parametrize(
    ("typed", "path", "said"),
    [
        ({"training.load_best_model_at_end": "on"}, "data.eval_share", "Keeping the best checkpoint needs evaluations"),
        ({"training.early_stopping_patience": "2"}, "data.eval_share", "Early stopping needs evaluations"),
        (
            {"training.early_stopping_patience": "2", "data.eval_share": "0.5"},
            "training.eval_steps",
            "Early stopping needs evaluations: say after how many steps.",
        ),
        ({"optimizer.lr_scheduler_type": "reduce_lr_on_plateau"}, "data.eval_share", "The schedule reduce_lr_on_plateau needs"),
    ],
)
def test_what_is_wrong_together_is_told_at_the_field_to_change(cast: Cast, typed: dict[str, str], path: str, said: str):
    answer = signed_in(cast.alice).post("/jobs/new", filled(cast, **typed))
    errors = answer.context["form"].errors
    assert list(errors) == [path]
    assert errors[path][0].startswith(said)


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
        ("plan.num_processes", "3", "The 4 rows of a step cannot be shared out evenly to 3 GPUs. Use 1, 2 or 4,"),
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

    @pytest.mark.parametrize(
        "blocks",
        [
            {"objective": {"kind": "kto", "beta": 0.3, "desirable_weight": 2.0}},
            {"finetuning_type": "full", "quantization": {"kind": "none", "dtype": "float32"}},
            {"quantization": {"kind": "bitsandbytes_8bit", "llm_int8_threshold": 5.0}, "lora": {"target_modules": "attention"}},
            {"plan": {"num_processes": 2, "fsdp": True}, "optimizer": {"lr_scheduler_kwargs": {"num_cycles": 2}}},
        ],
    )
    def test_a_clone_untouched_is_the_same_spec(self, cast: Cast, blocks: dict[str, Any]):
        job = submitted(cast)
        spec = FinetuneSpec.model_validate({**job.spec, **blocks}).model_dump(mode="json")
        Job.objects.update(spec=spec)
        if "objective" in blocks:
            DatasetVersion.objects.update(format="unpaired_preference")
        client = signed_in(cast.bob)
        page = client.get(f"/jobs/new?clone={job.pk}").context["form"]
        values = {name: page[name].value() for name in page.fields}
        sent = {name: "on" if value is True else str(value) for name, value in values.items() if value not in (None, False)}
        assert client.post("/jobs/new", sent).status_code == 302
        assert Job.objects.order_by("-pk")[0].spec == spec

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

    def test_it_says_how_much_is_trained(self, cast: Cast):
        every, two = (self.post(cast, **{"lora.target_modules": asked}).context["preview"] for asked in ("auto", "q_and_v"))
        assert (every.trained, two.trained) == (4_884_480, 921_600)  # rank 16 on the layers of SmolLM2-135M, as PEFT counts
        assert (
            "Trains 921,600 parameters, 0.69 % of the model's 135 M."
            in self.post(cast, **{"lora.target_modules": "q_and_v"}).content.decode()
        )

    def test_it_is_honest_without_a_past_run(self, cast: Cast):
        assert "no past run of this model like this here" in self.post(cast).content.decode()

    def test_packed_rows_are_counted(self, cast: Cast):
        DatasetVersion.objects.update(rows=1000, size_bytes=400_000)  # about 100 tokens a row: five to a row of 512
        preview = self.post(cast, **{"objective.packing": "on", "training.max_steps": ""}).context["preview"]
        assert preview.steps_arithmetic == "about 209 packed rows ÷ 4 × 3 epochs"

    def test_kto_makes_two_rows_of_a_pair(self, cast: Cast):
        DatasetVersion.objects.update(format="preference")
        asked = {"training.max_steps": "", "training.num_train_epochs": "1"}
        kto, dpo = (self.post(cast, objective=kind, **asked).context["preview"] for kind in ("kto", "dpo"))
        assert (kto.steps, kto.steps_arithmetic) == (4, "16 answers of 8 pairs ÷ 4 × 1 epochs")
        assert (dpo.steps, dpo.steps_arithmetic) == (2, "8 rows ÷ 4 × 1 epochs")

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
