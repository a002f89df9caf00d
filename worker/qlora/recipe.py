"""One run from the order to the saved adapter. Reads from top to bottom."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainerState

from worker.contract.events import PlanMade, Results, TrainingEnded
from worker.contract.orders import WorkOrder
from worker.contract.run_directory import RunDirectory
from worker.contract.vram.execution import ELEMENTWISE
from worker.qlora.adapter import save_adapter
from worker.qlora.base_model import check_model_folder, load_base_model, load_tokenizer, read_config
from worker.qlora.checkpoint import Checkpoint, unfinished_folder
from worker.qlora.dataset import check_dataset_file, lengths_of, lines_of, prepare_data, row_lengths_of
from worker.qlora.device import find_device
from worker.qlora.distributed import first_says
from worker.qlora.failures import RunFailed, failing_at
from worker.qlora.making import make_trainer
from worker.qlora.memory import count_peak_anew, loading_in_words, sampled_while_loading
from worker.qlora.objective import check_objective
from worker.qlora.optimizer import choose_optimizer
from worker.qlora.packed.refusing import why_not_packed
from worker.qlora.passes import read_pass_plan
from worker.qlora.planning import with_execution
from worker.qlora.positions import check_lengths
from worker.qlora.precision import choose_precision
from worker.qlora.prepared import Prepared
from worker.qlora.progress import Progress
from worker.qlora.quantization import describe
from worker.qlora.ranks import this_rank
from worker.qlora.resuming import check_restored, find_checkpoint, tell_where
from worker.qlora.row_tokenizer import row_tokenizer
from worker.qlora.schedule import check_schedule
from worker.qlora.settings import settings_of
from worker.qlora.several import by_first, check_shared, order_of
from worker.qlora.stopping import StopWord, read_stop
from worker.qlora.summary import Choices, made_by, results_of, results_without_training
from worker.qlora.telling import Teller
from worker.qlora.trained import count_parameters
from worker.qlora.training import Watched, WatchedTrainer


def run(order: WorkOrder, *, directory: RunDirectory, teller: Teller) -> None:
    """Trains what the order says. Tells everything; returns when it ended in order, raises when not."""
    check_objective(order.spec)
    check_shared(order.spec, teller=teller)
    by_first(lambda: clear_directory(directory))
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
    precision = choose_precision(order.spec.quantization, order.spec.training, device=device, is_full=order.spec.is_full)
    optim, notice = choose_optimizer(order.spec.optimizer, device=device)
    for text in (*precision.notices, notice, check_schedule(order.spec.optimizer)):
        if text:
            teller.give_notice(text)
    passes = read_pass_plan(directory.pass_plan, training=order.spec.training, count=this_rank().count)
    return Choices(device=device, precision=precision, optim=optim, passes=passes)


def prepare(order: WorkOrder, *, directory: RunDirectory, choices: Choices, teller: Teller) -> Prepared:
    spec = order.spec
    teller.start_phase("Reading data", f"{order.dataset_name}, {order.dataset.rows} rows")
    check_dataset_file(directory.dataset, dataset=order.dataset)
    check_model_folder(directory.model)
    config, tokenizer = read_config(directory.model), load_tokenizer(directory.model)
    rows_tokenizer, differs = row_tokenizer(tokenizer, folder=directory.model, chat_template=spec.data.chat_template)
    data = prepare_data(directory.dataset, spec=spec, tokenizer=rows_tokenizer)
    longest = max(int(row_lengths_of(part).max()) for part in (data.train, data.eval) if part is not None)
    for notice in (differs, *data.notices, check_lengths(config, longest=longest)):
        if notice:
            teller.give_notice(notice)
    watched = Watched(
        order=order,
        data_order=order_of(rows=len(data.train), spec=spec, lengths=lengths_of(data.train)),
        lines=lines_of(data.train),
        settings=settings_of(
            order,
            model=directory.model,
            optim=choices.optim,
            states=states_of(order, config=config, choices=choices),
            rows_sha256=data.rows_sha256,
        ),
        made_by=made_by(order, choices=choices),
    )
    checkpoint = first_says(lambda: find_checkpoint(directory.checkpoints, settings=watched.settings, teller=teller))
    tell_where(checkpoint, order=order, made_by=watched.made_by, teller=teller)
    return Prepared(order, directory, choices, tokenizer, data, watched, checkpoint)


def states_of(order: WorkOrder, *, config: Any, choices: Choices) -> str:
    why_not = why_not_packed(config, spec=order.spec, precision=choices.precision)
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
        kept = prepared.directory.quantised
        model = load_base_model(
            prepared.directory.model, spec=spec, precision=precision, kept=kept if kept.is_dir() else None, say=teller.say
        )
    count_peak_anew()
    return model


def train(trainer: WatchedTrainer, *, progress: Progress, prepared: Prepared) -> None:
    checkpoint, word = prepared.checkpoint, read_stop(prepared.directory.stop)
    if checkpoint is None:
        trainer.train()
    elif checkpoint.step >= checkpoint.figures.max_steps or checkpoint.figures.best.is_over or word == "stop_and_save":
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
    if said := loading_in_words():
        teller.say(said)
    if word == "pause" or word == "stop_and_discard":
        outcome = "checkpointed" if word == "pause" else "stopped_discarded"
        teller.tell(TrainingEnded(outcome=outcome, results=results_of(trainer, progress)))
        return
    with failing_at(lambda: trainer.state.global_step):
        if prepared.data.eval is not None and progress.eval_step != trainer.state.global_step and word is None:
            trainer.evaluate()
        best_step = trainer.best.take_back(step=trainer.state.global_step)
        results = results_of(trainer, progress, best_step=best_step)
        assert progress.plan is not None  # training began
        teller.start_phase("Saving", f"the {'model' if prepared.order.spec.is_full else 'adapter'}, its card and its checksums")
        by_first(partial(save, trainer, plan=progress.plan, prepared=prepared, results=results))
    teller.tell(TrainingEnded(outcome="stopped_saved" if word else "finished", results=results))


def save(trainer: WatchedTrainer, *, plan: PlanMade, prepared: Prepared, results: Results) -> None:
    save_adapter(
        prepared.directory.adapter,
        model=trainer.model,
        tokenizer=prepared.tokenizer,
        order=prepared.order,
        plan=plan,
        results=results,
    )


def read_order(path: Path) -> WorkOrder:
    try:
        return WorkOrder.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise RunFailed("bad_config", "The run directory has no order.json.") from error
    except ValueError as error:
        raise RunFailed("bad_config", f"order.json is not a work order: {error}") from error
