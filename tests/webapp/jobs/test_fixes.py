"""Every change that a failure card may offer: it changes something, keeps within the contract, and says what it does."""

import random
from typing import Any

import pytest

from webapp.jobs.fixes import MAKERS, Situation, changed, fixes_of
from worker.contract.plan import PassPlan
from worker.contract.spec import FinetuneSpec

MODEL = {"kind": "example", "name_or_path": "smollm2-135m-instruct"}


FULL = {"finetuning_type": "full", "quantization": {"kind": "none"}}
EIGHT = {"quantization": {"kind": "bitsandbytes_8bit"}}


def spec(**blocks: Any) -> FinetuneSpec:
    return FinetuneSpec.model_validate({"base_model": MODEL, "training": {"num_train_epochs": 3}, **blocks})


def situation(ran: FinetuneSpec, *, plan: PassPlan | None = None, longest: int = 8192) -> Situation:
    return Situation(ran, plan or PassPlan.as_asked(ran.training), longest)


def made(key: str, ran: FinetuneSpec, **known: Any) -> Any:
    return MAKERS[key](situation(ran, **known))


@pytest.mark.parametrize(
    ("key", "ran", "changes"),
    [
        ("lower-rate", {"optimizer": {"learning_rate": 2e-4}}, {"optimizer.learning_rate": 2e-5}),
        ("longer-warm-up", {}, {"optimizer.warmup_steps": 0.1}),
        ("longer-warm-up", {"optimizer": {"warmup_steps": 20}}, {"optimizer.warmup_steps": 40}),
        ("lower-rank", {}, {"lora.r": 8, "lora.lora_alpha": 16}),
        ("lower-alpha", {}, {"lora.lora_alpha": 16}),
        ("more-dropout", {"lora": {"lora_dropout": 0}}, {"lora.lora_dropout": 0.05}),
        ("fewer-epochs", {}, {"training.num_train_epochs": 2}),
        (
            "activation-checkpointing",
            {"training": {"max_steps": 3, "activation_checkpointing": False}},
            {"training.activation_checkpointing": True},
        ),
        ("shorter-rows", {}, {"training.max_length": 256}),
        ("longer-rows", {}, {"training.max_length": 1024}),
        ("whole-rows", {}, {"data.train_on": "whole_row"}),
        ("use-qlora", {"quantization": {"kind": "none"}}, {"quantization.kind": "bitsandbytes_4bit"}),
        ("use-qlora", EIGHT, {"quantization.kind": "bitsandbytes_4bit"}),
        ("use-qlora", FULL, {"finetuning_type": "lora", "quantization.kind": "bitsandbytes_4bit"}),
        ("use-lora", FULL, {"finetuning_type": "lora"}),
        ("use-8-bits", {"quantization": {"kind": "none"}}, {"quantization.kind": "bitsandbytes_8bit"}),
        ("smaller-states", FULL, {"optimizer.optim": "paged_adamw_8bit"}),
        ("all-layers", {"lora": {"target_modules": ["q"]}}, {"lora.target_modules": "auto"}),
        ("all-layers", {"lora": {"target_modules": "q_and_v"}}, {"lora.target_modules": "auto"}),
        ("usual-precision", {"training": {"max_steps": 3, "bf16": True}}, {"training.bf16": None, "training.fp16": None}),
        ("rarer-checkpoints", {"training": {"max_steps": 3, "save_steps": 50}}, {"training.save_steps": 100}),
    ],
)
def test_it_makes_the_change_that_it_names(key: str, ran: dict[str, Any], changes: dict[str, Any]):
    assert made(key, spec(**ran)).changes == changes


def test_smaller_passes_keep_the_effective_batch():
    ran = spec(training={"max_steps": 3, "per_device_train_batch_size": 6, "gradient_accumulation_steps": 2})
    fix = made("smaller-passes", ran)
    assert fix.label == "3 rows a pass and 4 passes a step instead of 6 and 2"
    assert changed(ran, fix.changes).training.effective_batch == ran.training.effective_batch


def test_smaller_passes_keep_the_effective_batch_of_several_gpus():
    ran = spec(training={"max_steps": 3, "per_device_train_batch_size": 8}, plan={"num_processes": 2})
    fix = made("smaller-passes", ran, plan=PassPlan.as_asked(ran.training, num_processes=2))
    after = changed(ran, fix.changes).training
    assert after.effective_batch == 8
    assert PassPlan.as_asked(after, num_processes=2).per_device_train_batch_size == 2


def test_kto_keeps_two_rows_a_pass():
    kto = {"objective": {"kind": "kto"}}
    assert made("smaller-passes", spec(**kto, training={"max_steps": 3, "per_device_train_batch_size": 2})) is None
    fix = made("smaller-passes", spec(**kto, training={"max_steps": 3, "per_device_train_batch_size": 4}))
    assert fix.changes["training.per_device_train_batch_size"] == 2


@pytest.mark.parametrize(
    ("key", "ran"),
    [
        ("longer-warm-up", {"optimizer": {"warmup_steps": 0.3}}),
        ("longer-warm-up", {"optimizer": {"warmup_steps": 1_000_000}}),
        ("lower-rank", {"lora": {"r": 1}}),
        ("lower-alpha", {"lora": {"lora_alpha": 1}}),
        ("more-dropout", {"lora": {"lora_dropout": 0.3}}),
        ("fewer-epochs", {"training": {"num_train_epochs": 1}}),
        ("fewer-epochs", {"training": {"num_train_epochs": 3, "max_steps": 10}}),
        ("smaller-passes", {"training": {"max_steps": 3, "per_device_train_batch_size": 1}}),
        ("activation-checkpointing", {}),
        ("shorter-rows", {"training": {"max_steps": 3, "max_length": 64}}),
        ("whole-rows", {"data": {"train_on": "whole_row"}}),
        ("whole-rows", {"objective": {"kind": "dpo"}}),
        ("use-qlora", {}),
        ("use-lora", {}),
        ("use-8-bits", {}),
        ("use-8-bits", FULL),
        ("smaller-states", {}),
        ("lower-rank", FULL),
        ("all-layers", FULL),
        ("all-layers", {}),
        ("usual-precision", {}),
        ("rarer-checkpoints", {}),
    ],
)
def test_nothing_is_offered_where_nothing_would_change(key: str, ran: dict[str, Any]):
    assert made(key, spec(**ran)) is None


def test_kto_s_smaller_passes_say_that_the_result_changes():
    assert "so its result changes a little" in made("smaller-passes", spec(objective={"kind": "kto"})).detail


def test_rows_are_not_longer_than_the_model_reads():
    assert made("longer-rows", spec(), longest=700).changes == {"training.max_length": 700}
    assert made("longer-rows", spec(), longest=512) is None


def test_what_was_tried_already_is_not_offered():
    """Memory ran out down to one row with checkpointing: the same smaller passes would run out again."""
    ran = spec(training={"max_steps": 3, "per_device_train_batch_size": 4, "activation_checkpointing": False})
    smallest = PassPlan(per_device_train_batch_size=1, gradient_accumulation_steps=4, activation_checkpointing=True)
    assert fixes_of(situation(ran, plan=smallest), ("smaller-passes", "activation-checkpointing")) == ()


def any_spec(seed: int) -> FinetuneSpec:
    """Somewhere within the contract's bounds, the corners often."""
    dice = random.Random(seed)
    training = {
        "num_train_epochs": dice.choice([0.01, 1, 2, 3.5, 1000]),
        "max_steps": dice.choice([None, 1, 10_000_000]),
        "per_device_train_batch_size": dice.choice([1, 2, 3, 4093, 4096, dice.randint(1, 4096)]),
        "gradient_accumulation_steps": dice.choice([1, 4, 4096]),
        "max_length": dice.choice([8, 64, 65, 1_048_576, dice.randint(8, 1_048_576)]),
        "activation_checkpointing": dice.random() < 0.5,
        "save_steps": dice.choice([None, 1, 500_000, 1_000_000]),
        "bf16": dice.choice([None, True, False]),
    }
    return spec(
        training=training,
        lora={
            "r": dice.choice([1, 2, 3, 1024]),
            "lora_alpha": dice.choice([1, 2, 8192]),
            "lora_dropout": dice.choice([0, 0.01, 0.05, 0.2, 0.99]),
        },
        optimizer={
            "learning_rate": dice.choice([1e-12, 2e-4, 0.123456, 1]),
            "warmup_steps": dice.choice([0, 0.03, 0.2, 0.99, 1, 7, 1_000_000]),
        },
        data={"train_on": dice.choice(["assistant", "whole_row"])},
        objective={"kind": dice.choice(["sft", "dpo", "kto"])},
        **dice.choice([FULL, EIGHT, {"quantization": {"kind": "none"}}, {}]),
    )


@pytest.mark.parametrize("seed", range(60))
def test_whatever_ran_an_offered_fix_changes_it_and_is_valid(seed: int):
    ran = any_spec(seed)
    for fix in fixes_of(situation(ran, longest=1_048_576), tuple(MAKERS)):
        after = changed(ran, fix.changes)
        assert after != ran, fix.key
        assert fix.label, fix.key
        if fix.key == "smaller-passes":
            assert after.training.effective_batch == ran.training.effective_batch
