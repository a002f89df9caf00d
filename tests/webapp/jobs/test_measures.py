"""What the objective tells beside the loss: columns, charts with plain titles, and nothing where nothing is told."""

from tests.cast import Cast
from tests.webapp.jobs.work import PLAN, batch, claimed, metrics
from webapp.jobs.execution_told import execution_told
from webapp.jobs.ingest import store_batch
from webapp.jobs.measure_words import CHARTS, charts_for
from webapp.jobs.method_tags import stored_tags, tags_of
from webapp.jobs.series import series_of
from worker.contract.events import MetricsLogged
from worker.contract.plan import ExecutionPlan, PassPlan
from worker.contract.spec import FinetuneSpec

KTO = {"rewards/chosen": 0.5, "kl": 0.25}


def test_columns_stand_beside_the_steps(cast: Cast):
    job, attempt = claimed(cast)
    second = metrics(2).model_copy(update={"measures": KTO})
    evaluated = MetricsLogged(step=2, epoch=1, eval_loss=1.0, measures={"eval_kl": 0.5})
    store_batch(attempt, batch(attempt, PLAN, metrics(1), second, evaluated))
    job.refresh_from_db()
    series = series_of(job)
    assert series["measures"] == {"eval_kl": [None, 0.5], "kl": [None, 0.25], "rewards/chosen": [None, 0.5]}
    assert series["metrics"]["eval_loss"] == [None, 1.0]
    assert [chart["title"] for chart in series["measure_charts"]] == ["Scores of the answers", "Distance from the start (KL)"]
    assert job.progress["measures"] == {**KTO, "eval_kl": 0.5}


def test_sft_has_no_empty_chart():
    assert charts_for(()) == []


def test_both_answers_share_a_chart_with_their_evaluations():
    (chart,) = charts_for(["rewards/chosen", "rewards/rejected", "eval_rewards/chosen"])
    assert [label for _, label, _ in chart["lines"]] == ["chosen", "rejected", "chosen, evaluation"]


def test_a_name_that_nobody_knows_is_drawn_under_it():
    (chart,) = charts_for(["my/own", "eval_my/own"])
    assert (chart["title"], [name for name, _, _ in chart["lines"]]) == ("my/own", ["my/own", "eval_my/own"])


def test_every_chart_has_a_sentence():
    assert all(chart.sentence.endswith(".") and chart.title for chart in CHARTS)
    assert len({chart.key for chart in CHARTS}) == len(CHARTS)


def a_spec(**blocks: object) -> FinetuneSpec:
    model = {"kind": "example", "name_or_path": "x"}
    return FinetuneSpec.model_validate({"base_model": model, "training": {"max_steps": 1}, **blocks})


def test_tags_say_method_objective_and_type():
    assert tags_of(a_spec()) == ["QLoRA · r=16", "SFT", "bf16"]
    assert tags_of(a_spec(objective={"kind": "dpo"}, quantization={"kind": "bitsandbytes_8bit"})) == [
        "LoRA on 8 bits · r=16",
        "DPO",
        "bf16",
    ]
    full = a_spec(finetuning_type="full", quantization={"kind": "none", "dtype": "float32"}, objective={"kind": "reward"})
    assert tags_of(full) == ["Full fine-tuning", "Reward model", "fp32"]
    assert tags_of(a_spec(lora={"use_dora": True, "r": 8}, plan={"num_processes": 2}))[0::3] == ["QLoRA · DoRA · r=8", "2 GPUs"]


def test_a_spec_that_cannot_be_read_has_no_tags():
    assert stored_tags({"base_model": 3}) == ("", "")


def passes(rows: int, times: int, *, on: bool = False) -> PassPlan:
    return PassPlan(per_device_train_batch_size=rows, gradient_accumulation_steps=times, activation_checkpointing=on)


def test_how_it_is_run_reads_as_a_sentence():
    packed = ExecutionPlan(kind="packed", passes=passes(16, 1), recomputed_layers=12, on_host=True, reasons=("Because.",))
    told = execution_told({"execution": packed.model_dump(mode="json")})
    assert told is not None
    assert told.headline == "Packed: 16 rows a pass, one pass a step; rows are laid end to end, without padding"
    assert told.layers == "12 layers are computed again on the way back, to save memory, their inputs waiting in the host's memory"
    plain = execution_told({"execution": ExecutionPlan(kind="plain", passes=passes(1, 4)).model_dump(mode="json")})
    assert plain is not None
    assert plain.headline.startswith("Plain, TRL's own way: 1 row a pass, 4 passes a step")
    assert execution_told({}) is None
    assert execution_told({"execution": {"kind": "of the future"}}) is None
