"""One run from the order to the saved adapter. Reads from top to bottom."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transformers import PrinterCallback
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from worker.contract.events import PlanMade, Results, TrainingEnded
from worker.contract.orders import WorkOrder
from worker.contract.run_directory import RunDirectory
from worker.qlora.adapter import save_adapter
from worker.qlora.base_model import check_model_folder, load_base_model, load_tokenizer
from worker.qlora.dataset import PreparedData, check_dataset_file, prepare_data
from worker.qlora.device import find_device
from worker.qlora.failures import RunFailed
from worker.qlora.lora import cast_adapter_to_float32, choose_target_modules, count_parameters, lora_config
from worker.qlora.memory import peak_memory, sampled_while_loading
from worker.qlora.optimizer import choose_optimizer
from worker.qlora.precision import Device, Precision, choose_precision
from worker.qlora.progress import Progress
from worker.qlora.quantization import describe
from worker.qlora.stopping import read_stop
from worker.qlora.telling import Teller
from worker.qlora.training import WatchedTrainer, training_arguments

LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets")


@dataclass(frozen=True)
class Choices:
    """What the run does on this machine, where the order leaves it open or the machine cannot do it."""

    device: Device
    precision: Precision
    optim: str


def run(order: WorkOrder, *, directory: RunDirectory, teller: Teller) -> None:
    """Trains what the order says. Tells everything; returns when it ended in order, raises when not."""
    spec = order.spec
    refuse_used_directory(directory)
    choices = choose(order, teller=teller)

    teller.start_phase("Reading data", f"{order.dataset_name}, {order.dataset.rows} rows")
    check_dataset_file(directory.dataset, dataset=order.dataset)
    check_model_folder(directory.model)
    tokenizer = load_tokenizer(directory.model)
    data = prepare_data(directory.dataset, spec=spec, tokenizer=tokenizer)
    for notice in data.notices:
        teller.give_notice(notice)

    teller.start_phase(
        "Loading base model", f"{spec.base_model.name_or_path}, {describe(spec.quantization, precision=choices.precision)}"
    )
    with sampled_while_loading(teller):
        model = load_base_model(directory.model, spec=spec, precision=choices.precision)

    teller.start_phase("Adding the adapter", f"rank {spec.lora.r}")
    trainer, progress = make_trainer(
        order, directory=directory, teller=teller, choices=choices, model=model, tokenizer=tokenizer, data=data
    )

    if read_stop(directory.stop) is not None:
        teller.give_notice("Asked to stop before the first step; there is nothing to save.")
        teller.tell(TrainingEnded(outcome="stopped_discarded", results=results_of(trainer, progress)))
        return

    trainer.train()

    if progress.stop_word == "stop_and_discard":
        teller.tell(TrainingEnded(outcome="stopped_discarded", results=results_of(trainer, progress)))
        return
    if data.eval is not None and progress.eval_step != trainer.state.global_step and progress.stop_word is None:
        trainer.evaluate()
    results = results_of(trainer, progress)
    assert progress.plan is not None  # training began
    teller.start_phase("Saving", "the adapter, its card and its checksums")
    save_adapter(directory.adapter, model=trainer.model, tokenizer=tokenizer, order=order, plan=progress.plan, results=results)
    teller.tell(TrainingEnded(outcome="stopped_saved" if progress.stop_word else "finished", results=results))


def refuse_used_directory(directory: RunDirectory) -> None:
    if directory.adapter.exists():
        raise RunFailed("bad_config", "The run directory already has an adapter.", advice="Use a new directory for each run.")


def choose(order: WorkOrder, *, teller: Teller) -> Choices:
    device = find_device()
    precision = choose_precision(order.spec.quantization, order.spec.training, device=device)
    optim, notice = choose_optimizer(order.spec.optimizer, device=device)
    for text in (*precision.notices, notice):
        if text:
            teller.give_notice(text)
    return Choices(device=device, precision=precision, optim=optim)


def make_trainer(
    order: WorkOrder,
    *,
    directory: RunDirectory,
    teller: Teller,
    choices: Choices,
    model: Any,
    tokenizer: Any,
    data: PreparedData,
) -> tuple[WatchedTrainer, Progress]:
    """TRL's trainer with the adapter in it: rows come tokenised and labelled, the adapter trains in float32."""
    spec = order.spec
    targets = choose_target_modules(model, lora=spec.lora)
    trainer = WatchedTrainer(
        model=model,
        args=training_arguments(
            spec,
            precision=choices.precision,
            optim=choices.optim,
            checkpoints=directory.checkpoints,
            has_eval=data.eval is not None,
        ),
        data_collator=DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id),
        train_dataset=data.train,
        eval_dataset=data.eval,
        processing_class=tokenizer,
        peft_config=lora_config(spec.lora, target_modules=targets),
    )
    cast_adapter_to_float32(trainer.model)
    trainer.teller = teller
    progress = Progress(
        teller=teller,
        stop=directory.stop,
        make_plan=lambda steps: plan_of(order, choices=choices, data=data, targets=targets, model=trainer.model, steps=steps),
    )
    trainer.remove_callback(PrinterCallback)  # it prints each log as a dictionary; ours says the same in words
    trainer.add_callback(progress)
    return trainer, progress


def plan_of(
    order: WorkOrder,
    *,
    choices: Choices,
    data: PreparedData,
    targets: tuple[str, ...],
    model: Any,
    steps: int,
) -> PlanMade:
    trained, everything = count_parameters(model)
    return PlanMade(
        max_steps=steps,
        epochs=steps * order.spec.training.effective_batch / len(data.train),
        train_rows=len(data.train),
        eval_rows=len(data.eval) if data.eval is not None else 0,
        train_tokens=data.train_tokens,
        trained_tokens=data.trained_tokens,
        cut_rows=data.cut_rows,
        effective_batch=order.spec.training.effective_batch,
        trainable_parameters=trained,
        parameters=everything,
        target_modules=targets,
        mask=data.mask_words,
        device=choices.device.name,
        optim=choices.optim,
        versions={library: installed for library in LIBRARIES if (installed := version_of(library))},
    )


def version_of(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def results_of(trainer: WatchedTrainer, progress: Progress) -> Results:
    peak, of = peak_memory()
    return Results(
        steps=trainer.state.global_step,
        epochs=float(trainer.state.epoch or 0),
        first_loss=progress.first_loss,
        final_loss=progress.final_loss,
        eval_loss=progress.eval_loss,
        train_seconds=progress.train_seconds,
        tokens_seen=progress.tokens_seen,
        peak_memory_bytes=peak,
        peak_memory_of=of,
    )


def read_order(path: Path) -> WorkOrder:
    try:
        return WorkOrder.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise RunFailed("bad_config", "The run directory has no order.json.") from error
    except ValueError as error:
        raise RunFailed("bad_config", f"order.json is not a work order: {error}") from error
