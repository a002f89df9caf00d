"""The trainer of a run: made with what is trained in it, watched, and taken up before its first step."""

import math
from collections.abc import Callable
from typing import Any

import torch
from transformers import PrinterCallback

from worker.contract.events import PlanMade
from worker.contract.plan import ExecutionPlan
from worker.contract.spec import FinetuneSpec
from worker.qlora.best import BestKeeper
from worker.qlora.dataset import PreparedData, lengths_of, longest_of, most_rows_of, row_lengths_of
from worker.qlora.divergence import DivergenceWatch
from worker.qlora.estimating import memory_parts_of
from worker.qlora.executing import thrift_of
from worker.qlora.kept_apart import check_kept_apart
from worker.qlora.lora import check_rank, choose_target_modules, lora_config
from worker.qlora.objective import packed_collator, pass_loss, plain_collator, task_type, trainer_class
from worker.qlora.packed.decoder import Decoder
from worker.qlora.packed.runs import PackedRuns
from worker.qlora.packed_training import PackedTrainer
from worker.qlora.planning import steps_of
from worker.qlora.prepared import Prepared
from worker.qlora.progress import Progress
from worker.qlora.rehearsal import is_rehearsed, rehearse
from worker.qlora.resuming import check_restored
from worker.qlora.settings import evaluations_decide
from worker.qlora.several import draw_by_rank, folder_by_rank
from worker.qlora.splitting import is_split, split_base_model
from worker.qlora.summary import figures_of, plan_of, put_back
from worker.qlora.telling import Teller
from worker.qlora.trained import cast_to_float32, count_parameters
from worker.qlora.training import WatchedTrainer, training_arguments


def make_trainer(prepared: Prepared, *, model: Any, teller: Teller) -> tuple[WatchedTrainer, Progress]:
    """TRL's trainer with what is trained in it: rows come tokenised and labelled, and what is trained is float32."""
    spec, choices, data = prepared.order.spec, prepared.choices, prepared.data
    targets = tell_what_is_trained(model, spec=spec, teller=teller)
    is_packed = execution_of(prepared).kind == "packed"
    trainer = trainer_class(spec, is_packed=is_packed)(
        model=model,
        args=arguments_of(prepared),
        data_collator=collator_of(prepared),
        train_dataset=data.train,
        eval_dataset=data.eval,
        processing_class=prepared.tokenizer,
        peft_config=None if spec.is_full else lora_config(spec.lora, target_modules=targets, task_type=task_type(spec)),
    )
    trainer.accelerator.free_memory = lambda *objects: list(objects)  # 0.3 s of garbage collection before a run that has made none
    cast_to_float32(trainer.model)
    if is_split(spec):
        split_base_model(trainer.model)
    if isinstance(trainer, PackedTrainer):
        decoder = Decoder(
            trainer.model,
            dtype=getattr(torch, choices.precision.dtype),
            thrift=thrift_of(execution_of(prepared)),
            noise_alpha=spec.training.neftune_noise_alpha,
        )
        loss = pass_loss(spec, decoder, rows_a_pass=choices.passes.per_device_train_batch_size)
        trainer.take_packed(PackedRuns(decoder, longest=longest_row(data), device=trainer.args.device, loss=loss))
    elif data.is_binned:
        check_kept_apart(trainer)
    trainer.teller = teller
    trainer.watched = prepared.watched
    return trainer, watch(trainer, prepared=prepared, targets=targets, teller=teller)


def tell_what_is_trained(model: Any, *, spec: FinetuneSpec, teller: Teller) -> tuple[str, ...]:
    """The layers that get an adapter; none under full fine-tuning."""
    if spec.is_full:
        teller.start_phase("Unfreezing the model", "every weight is trained")
        return ()
    kind = " with DoRA" if spec.lora.use_dora else ""
    teller.start_phase("Adding the adapter", f"rank {spec.lora.r}{kind}")
    targets = choose_target_modules(model, lora=spec.lora)
    if notice := check_rank(model, r=spec.lora.r, targets=targets):
        teller.give_notice(notice)
    return targets


def execution_of(prepared: Prepared) -> ExecutionPlan:
    assert prepared.choices.execution is not None  # the base model is loaded
    return prepared.choices.execution


def arguments_of(prepared: Prepared) -> Any:
    spec, choices = prepared.order.spec, prepared.choices
    return training_arguments(
        spec,
        passes=choices.passes,
        precision=choices.precision,
        optim=choices.optim,
        checkpoints=prepared.directory.checkpoints,
        has_eval=prepared.data.eval is not None,
        steps=steps_of(spec, rows=len(prepared.data.train)),
        is_packed=execution_of(prepared).kind == "packed",
    )


def collator_of(prepared: Prepared) -> Any:
    """Rows of a pass as tensors: end to end for packed passes and for bins, padded to the longest one otherwise."""
    data, spec, pad = prepared.data, prepared.order.spec, prepared.tokenizer.pad_token_id
    if execution_of(prepared).kind == "packed":
        rows = prepared.choices.passes.per_device_train_batch_size * most_rows_of(data.train)
        is_filled = prepared.choices.device.is_cuda
        return packed_collator(spec, rows_a_pass=rows, longest=longest_row(data), is_filled=is_filled, pad_token_id=pad)
    return plain_collator(spec, pad_token_id=pad, is_binned=data.is_binned)


def longest_row(data: PreparedData) -> int:
    """Of both parts, in whole 64s."""
    most = max(int(row_lengths_of(part).max()) for part in (data.train, data.eval) if part is not None)
    return math.ceil(most / 64) * 64


def watch(trainer: WatchedTrainer, *, prepared: Prepared, targets: tuple[str, ...], teller: Teller) -> Progress:
    """Ours beside TRL's own callbacks; what is wrong is found before it is told or saved."""
    before = prepared.checkpoint.figures if prepared.checkpoint is not None else None
    spec = prepared.order.spec
    divergence = DivergenceWatch(trainer=trainer, state=before.guard if before else None)
    trainer.best = BestKeeper(
        training=spec.training,
        model=trainer.model,
        folder=folder_by_rank(prepared.directory.checkpoints / "best"),
        teller=teller,
        state=before.best if before else None,
    )
    trainer.best.take_up(prepared.checkpoint.folder if prepared.checkpoint is not None else None)
    progress = Progress(
        teller=teller,
        stop=prepared.directory.stop,
        make_plan=planner(trainer, prepared=prepared, targets=targets),
        before=before,
        saves_by_clock=spec.training.save_steps is None,
        evaluates_first=evaluations_decide(spec),
        before_first_step=lambda: take_up(trainer, prepared=prepared, teller=teller),
    )
    trainer.divergence = divergence
    trainer.figures = lambda: figures_of(trainer, progress, guard_state=divergence.guard.state)
    trainer.remove_callback(PrinterCallback)  # it prints each log as a dictionary; ours says the same in words
    trainer.add_callback(divergence)
    trainer.add_callback(trainer.best)
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
    else:
        draw_by_rank(prepared.order.spec.training.seed)
    if isinstance(trainer, PackedTrainer):
        trainer.packed.expect(
            prepared.watched.data_order.pass_tokens(
                lengths_of(prepared.data.train),
                rows_a_pass=prepared.choices.passes.per_device_train_batch_size,
                after_step=trainer.state.global_step,
                last_step=trainer.state.max_steps,
            )
        )
    if is_rehearsed(on_card=prepared.choices.device.is_cuda):
        places = prepared.watched.data_order.largest_pass(
            (lengths_of if isinstance(trainer, PackedTrainer) else longest_of)(prepared.data.train),
            rows_a_pass=prepared.choices.passes.per_device_train_batch_size,
            after_step=trainer.state.global_step,
            last_step=trainer.state.max_steps,
            is_padded=not isinstance(trainer, PackedTrainer) and not prepared.data.is_binned,
        )
        rehearse(trainer, places=places, teller=teller)
    if checkpoint is not None and checkpoint.figures.eval_is_due:
        trainer.evaluate()
