"""The trainer of a run: planned for this machine, made with the adapter in it, watched, and taken up before its first step."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from transformers import PrinterCallback
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from worker.contract.events import PlanMade
from worker.contract.spec import FinetuneSpec
from worker.qlora.dataset import PreparedData, lengths_of
from worker.qlora.divergence import DivergenceWatch
from worker.qlora.estimating import memory_parts_of
from worker.qlora.executing import plan_execution, thrift_of
from worker.qlora.lora import cast_adapter_to_float32, choose_target_modules, count_parameters, lora_config
from worker.qlora.packed.collating import PackedCollator
from worker.qlora.packed.decoder import Decoder
from worker.qlora.packed.runs import PackedRuns
from worker.qlora.packed_training import PackedTrainer
from worker.qlora.prepared import Prepared
from worker.qlora.progress import Progress
from worker.qlora.rehearsal import is_rehearsed, rehearse
from worker.qlora.resuming import check_restored
from worker.qlora.summary import figures_of, plan_of, put_back
from worker.qlora.telling import Teller
from worker.qlora.training import WatchedTrainer, training_arguments


def with_execution(prepared: Prepared, *, model: Any, teller: Teller) -> Prepared:
    """Planned when the weights lie where they will lie, so that what is free is known."""
    spec, choices, watched = prepared.order.spec, prepared.choices, prepared.watched
    plan = plan_execution(
        model,
        spec=spec,
        precision=choices.precision,
        asked=choices.passes,
        is_smaller=prepared.directory.pass_plan.exists(),
        order=watched.data_order,
        lengths=lengths_of(prepared.data.train),
        steps=steps_of(spec, rows=len(prepared.data.train)),
    )
    for reason in plan.reasons:
        teller.say(reason)
    return replace(prepared, choices=replace(choices, passes=plan.passes, execution=plan))


def steps_of(spec: FinetuneSpec, *, rows: int) -> int:
    """As transformers counts them."""
    training = spec.training
    if training.max_steps is not None:
        return training.max_steps
    return math.ceil((training.num_train_epochs or 1.0) * math.ceil(rows / training.effective_batch))


def make_trainer(prepared: Prepared, *, model: Any, teller: Teller) -> tuple[WatchedTrainer, Progress]:
    """TRL's trainer with the adapter in it: rows come tokenised and labelled, the adapter trains in float32."""
    spec, choices, data = prepared.order.spec, prepared.choices, prepared.data
    teller.start_phase("Adding the adapter", f"rank {spec.lora.r}")
    targets = choose_target_modules(model, lora=spec.lora)
    execution = choices.execution
    assert execution is not None
    is_packed = execution.kind == "packed"
    longest = longest_row(prepared.data)
    collator = (
        PackedCollator(choices.passes.per_device_train_batch_size, longest=longest, is_filled=choices.device.is_cuda)
        if is_packed
        else DataCollatorForLanguageModeling(pad_token_id=prepared.tokenizer.pad_token_id)
    )
    trainer = (PackedTrainer if is_packed else WatchedTrainer)(
        model=model,
        args=training_arguments(
            spec,
            passes=choices.passes.model_copy(update={"activation_checkpointing": False}) if is_packed else choices.passes,
            precision=choices.precision,
            optim=choices.optim,
            checkpoints=prepared.directory.checkpoints,
            has_eval=data.eval is not None,
        ),
        data_collator=collator,
        train_dataset=data.train,
        eval_dataset=data.eval,
        processing_class=prepared.tokenizer,
        peft_config=lora_config(spec.lora, target_modules=targets),
    )
    cast_adapter_to_float32(trainer.model)
    if isinstance(trainer, PackedTrainer):
        decoder = Decoder(trainer.model, dtype=getattr(torch, choices.precision.dtype), thrift=thrift_of(execution))
        trainer.take_packed(PackedRuns(decoder, longest=longest, device=trainer.args.device))
    trainer.teller = teller
    trainer.watched = prepared.watched
    return trainer, watch(trainer, prepared=prepared, targets=targets, teller=teller)


def longest_row(data: PreparedData) -> int:
    """Of both parts, in whole 64s."""
    most = max(int(lengths_of(part).max()) for part in (data.train, data.eval) if part is not None)
    return math.ceil(most / 64) * 64


def watch(trainer: WatchedTrainer, *, prepared: Prepared, targets: tuple[str, ...], teller: Teller) -> Progress:
    """Ours beside TRL's own callbacks; what is wrong is found before it is told or saved."""
    before = prepared.checkpoint.figures if prepared.checkpoint is not None else None
    divergence = DivergenceWatch(trainer=trainer, state=before.guard if before else None)
    progress = Progress(
        teller=teller,
        stop=prepared.directory.stop,
        make_plan=planner(trainer, prepared=prepared, targets=targets),
        before=before,
        saves_by_clock=prepared.order.spec.training.save_steps is None,
        before_first_step=lambda: take_up(trainer, prepared=prepared, teller=teller),
    )
    trainer.figures = lambda: figures_of(trainer, progress, guard_state=divergence.guard.state)
    trainer.remove_callback(PrinterCallback)  # it prints each log as a dictionary; ours says the same in words
    trainer.add_callback(divergence)
    trainer.add_callback(progress)
    return progress


def planner(trainer: WatchedTrainer, *, prepared: Prepared, targets: tuple[str, ...]) -> Callable[[int], PlanMade]:
    def make_plan(steps: int) -> PlanMade:
        return plan_of(
            prepared.order,
            choices=prepared.choices,
            data=prepared.data,
            targets=targets,
            model=trainer.model,
            steps=steps,
            resumed_from_step=prepared.checkpoint.step if prepared.checkpoint is not None else None,
            memory_parts=memory_parts_of(prepared, model=trainer.model, steps=steps),
        )

    return make_plan


def take_up(trainer: WatchedTrainer, *, prepared: Prepared, teller: Teller) -> None:
    """Between everything made ready and the first step: what transformers does not restore, and the rehearsal."""
    checkpoint = prepared.checkpoint
    if checkpoint is not None:
        check_restored(trainer.model, checkpoint=checkpoint, trainable=count_parameters(trainer.model)[0])
        put_back(trainer, checkpoint.figures)
    if is_rehearsed(on_card=prepared.choices.device.is_cuda):
        places = prepared.watched.data_order.largest_pass(
            lengths_of(prepared.data.train),
            rows_a_pass=prepared.choices.passes.per_device_train_batch_size,
            after_step=trainer.state.global_step,
            last_step=trainer.state.max_steps,
            is_padded=not isinstance(trainer, PackedTrainer),
        )
        rehearse(trainer, places=places, teller=teller)
    if checkpoint is not None and checkpoint.figures.eval_is_due:
        trainer.evaluate()
