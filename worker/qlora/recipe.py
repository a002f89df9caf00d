"""One run from the order to the saved adapter. Reads from top to bottom."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerState
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from worker.contract.events import PlanMade, TrainingEnded
from worker.contract.orders import WorkOrder
from worker.contract.run_directory import RunDirectory
from worker.contract.spec import FinetuneSpec
from worker.qlora.adapter import save_adapter
from worker.qlora.base_model import check_model_folder, load_base_model, load_tokenizer, read_config
from worker.qlora.checkpoint import Checkpoint, unfinished_folder
from worker.qlora.data_order import DataOrder
from worker.qlora.dataset import PreparedData, check_dataset_file, lengths_of, lines_of, prepare_data
from worker.qlora.device import find_device
from worker.qlora.divergence import DivergenceWatch
from worker.qlora.executing import plan_execution, thrift_of
from worker.qlora.failures import RunFailed, failing_at
from worker.qlora.lora import cast_adapter_to_float32, choose_target_modules, count_parameters, lora_config
from worker.qlora.memory import sampled_while_loading
from worker.qlora.optimizer import choose_optimizer
from worker.qlora.packed.collating import PackedCollator
from worker.qlora.packed.decoder import Decoder
from worker.qlora.packed.refusing import why_not_packed
from worker.qlora.packed.runs import PackedRuns
from worker.qlora.packed_training import ELEMENTWISE, PackedTrainer
from worker.qlora.passes import read_pass_plan
from worker.qlora.precision import choose_precision
from worker.qlora.progress import Progress
from worker.qlora.quantization import describe
from worker.qlora.rehearsal import is_rehearsed, rehearse
from worker.qlora.resuming import check_restored, find_checkpoint, tell_where
from worker.qlora.settings import settings_of
from worker.qlora.stopping import StopWord, read_stop
from worker.qlora.summary import Choices, figures_of, made_by, plan_of, put_back, results_of, results_without_training
from worker.qlora.telling import Teller
from worker.qlora.training import Watched, WatchedTrainer, training_arguments


@dataclass(frozen=True)
class Prepared:
    """All that is known before the base model is loaded."""

    order: WorkOrder
    directory: RunDirectory
    choices: Choices
    tokenizer: Any
    data: PreparedData
    watched: Watched
    checkpoint: Checkpoint | None
    """Where the run goes on; none: from the beginning."""


def run(order: WorkOrder, *, directory: RunDirectory, teller: Teller) -> None:
    """Trains what the order says. Tells everything; returns when it ended in order, raises when not."""
    clear_directory(directory)
    choices = choose(order, directory=directory, teller=teller)
    prepared = prepare(order, directory=directory, choices=choices, teller=teller)
    if end_early(prepared, teller=teller):
        return
    model = load_model(prepared, teller=teller)
    prepared = with_execution(prepared, model=model, teller=teller)
    trainer, progress = make_trainer(prepared, model=model, teller=teller)
    if end_early(prepared, teller=teller):
        return
    with failing_at(lambda: trainer.state.global_step + 1):
        train(trainer, progress=progress, prepared=prepared)
    finish(trainer, progress=progress, prepared=prepared, teller=teller)


def clear_directory(directory: RunDirectory) -> None:
    """A trainer that was killed here may have left something half written."""
    if directory.adapter.exists():
        raise RunFailed("bad_config", "The run directory already has an adapter.", advice="Use a new directory for each run.")
    shutil.rmtree(unfinished_folder(directory.checkpoints), ignore_errors=True)


def choose(order: WorkOrder, *, directory: RunDirectory, teller: Teller) -> Choices:
    device = find_device()
    precision = choose_precision(order.spec.quantization, order.spec.training, device=device)
    optim, notice = choose_optimizer(order.spec.optimizer, device=device)
    for text in (*precision.notices, notice):
        if text:
            teller.give_notice(text)
    passes = read_pass_plan(directory.pass_plan, training=order.spec.training)
    return Choices(device=device, precision=precision, optim=optim, passes=passes)


def prepare(order: WorkOrder, *, directory: RunDirectory, choices: Choices, teller: Teller) -> Prepared:
    spec = order.spec
    teller.start_phase("Reading data", f"{order.dataset_name}, {order.dataset.rows} rows")
    check_dataset_file(directory.dataset, dataset=order.dataset)
    check_model_folder(directory.model)
    tokenizer = load_tokenizer(directory.model)
    data = prepare_data(directory.dataset, spec=spec, tokenizer=tokenizer)
    for notice in data.notices:
        teller.give_notice(notice)
    watched = Watched(
        order=order,
        data_order=DataOrder(rows=len(data.train), effective_batch=spec.training.effective_batch, seed=spec.training.seed),
        lines=lines_of(data.train),
        settings=settings_of(
            order,
            model=directory.model,
            optim=choices.optim,
            states=states_of(order, directory=directory, choices=choices),
            rows_sha256=data.rows_sha256,
        ),
        made_by=made_by(order, choices=choices),
    )
    checkpoint = find_checkpoint(directory.checkpoints, settings=watched.settings, teller=teller)
    tell_where(checkpoint, order=order, made_by=watched.made_by, teller=teller)
    return Prepared(order, directory, choices, tokenizer, data, watched, checkpoint)


def states_of(order: WorkOrder, *, directory: RunDirectory, choices: Choices) -> str:
    why_not = why_not_packed(read_config(directory.model), spec=order.spec, precision=choices.precision)
    return "one tensor" if not why_not and choices.optim in ELEMENTWISE else "a tensor a weight"


def end_early(prepared: Prepared, *, teller: Teller) -> bool:
    """Asked to stop before this process has made a step: what there is to keep lies in the checkpoint it would go on from."""
    word, checkpoint = read_stop(prepared.directory.stop), prepared.checkpoint
    if word is None or (word == "stop_and_save" and checkpoint is not None):
        return False
    step, figures = (checkpoint.step, checkpoint.figures) if checkpoint is not None else (0, None)
    if word == "pause":
        teller.give_notice(f"Asked to pause before the step after {step}.")
    else:
        teller.give_notice(f"Asked to stop before the {'next' if step else 'first'} step; nothing is saved.")
    outcome = "checkpointed" if word == "pause" else "stopped_discarded"
    teller.tell(TrainingEnded(outcome=outcome, results=results_without_training(step=step, figures=figures)))
    return True


def load_model(prepared: Prepared, *, teller: Teller) -> Any:
    spec, precision = prepared.order.spec, prepared.choices.precision
    teller.start_phase("Loading base model", f"{spec.base_model.name_or_path}, {describe(spec.quantization, precision=precision)}")
    with sampled_while_loading(teller):
        return load_base_model(prepared.directory.model, spec=spec, precision=precision)


def with_execution(prepared: Prepared, *, model: Any, teller: Teller) -> Prepared:
    """Planned when the weights lie where they will lie, so that what is free is known."""
    spec, choices, watched = prepared.order.spec, prepared.choices, prepared.watched
    plan = plan_execution(
        model,
        spec=spec,
        targets=choose_target_modules(model, lora=spec.lora),
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


def train(trainer: WatchedTrainer, *, progress: Progress, prepared: Prepared) -> None:
    checkpoint, word = prepared.checkpoint, read_stop(prepared.directory.stop)
    if checkpoint is None:
        trainer.train()
    elif checkpoint.step >= checkpoint.figures.max_steps or word == "stop_and_save":
        restore_without_training(trainer, progress=progress, checkpoint=checkpoint, word=word)
    else:
        trainer.train(resume_from_checkpoint=str(checkpoint.folder))


def restore_without_training(trainer: WatchedTrainer, *, progress: Progress, checkpoint: Checkpoint, word: StopWord | None) -> None:
    """Nothing is left to train, or asked for: transformers would make one more step, past the last if it must."""
    trainer.state = TrainerState.load_from_json(str(checkpoint.folder / "trainer_state.json"))
    trainer._load_from_checkpoint(str(checkpoint.folder))
    check_restored(trainer.model, checkpoint=checkpoint, trainable=count_parameters(trainer.model)[0])
    trainer._total_train_tokens = checkpoint.figures.tokens_seen
    progress.stop_word = word
    progress.tell_plan(steps=checkpoint.figures.max_steps)


def finish(trainer: WatchedTrainer, *, progress: Progress, prepared: Prepared, teller: Teller) -> None:
    """Evaluates, saves and tells, as the stop word allows."""
    word = progress.stop_word
    if word == "pause" or word == "stop_and_discard":
        outcome = "checkpointed" if word == "pause" else "stopped_discarded"
        teller.tell(TrainingEnded(outcome=outcome, results=results_of(trainer, progress)))
        return
    with failing_at(lambda: trainer.state.global_step):
        if prepared.data.eval is not None and progress.eval_step != trainer.state.global_step and word is None:
            trainer.evaluate()
        results = results_of(trainer, progress)
        assert progress.plan is not None  # training began
        teller.start_phase("Saving", "the adapter, its card and its checksums")
        save_adapter(
            prepared.directory.adapter,
            model=trainer.model,
            tokenizer=prepared.tokenizer,
            order=prepared.order,
            plan=progress.plan,
            results=results,
        )
    teller.tell(TrainingEnded(outcome="stopped_saved" if word else "finished", results=results))


def read_order(path: Path) -> WorkOrder:
    try:
        return WorkOrder.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise RunFailed("bad_config", "The run directory has no order.json.") from error
    except ValueError as error:
        raise RunFailed("bad_config", f"order.json is not a work order: {error}") from error
