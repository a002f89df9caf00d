"""Rows for looking at pages: jobs in every state, made through the services and the contract, with curves as real runs have them.

Needs a database. Nothing here trains: the numbers are made up, their shapes are those of the contract. tests/staged.py runs it.
"""

import random
from dataclasses import dataclass

from tests.cast import Cast, meet_the_cast
from tests.stage.comparisons import a_pair, half_a_pair, preference_run
from tests.stage.failures import diverged, nothing_to_train, out_of_memory, poison
from tests.stage.fetches import fetching, not_fetched
from tests.stage.queues import a_queue, used_lately
from tests.stage.rows import judged_answers, still_read, tool_calls
from tests.stage.runs import running_job, saved_job, starting_job, succeeded_job
from tests.stage.things import GPU_WORKER_TOKEN as GPU_WORKER_TOKEN
from tests.stage.things import (
    answer_pairs,
    big_model,
    cpu_worker,
    dataset,
    disk_runs_short,
    gpu_worker,
    leftovers,
    models_in_other_states,
    others_machines,
    second_machine,
    unsure_questions,
    uploads_on_their_way,
)
from tests.stage.tokens import count_tokens
from tests.stage.troubles import cancelled_with_checkpoint, lost_once, paused, pausing, second_try, stopping
from tests.stage.versions import history
from webapp.datasets.models import DatasetVersion
from webapp.jobs.models import Job
from webapp.pools.models import WorkerPool


@dataclass(frozen=True)
class Stage:
    cast: Cast
    jobs: dict[str, Job]
    """By what they show: running, starting, queued, succeeded, failed, paused ...; long has as many steps as asked for."""
    pool: WorkerPool
    """With a queue."""
    dataset: DatasetVersion
    unsure: DatasetVersion
    broken: DatasetVersion
    """Has problems."""
    faq: DatasetVersion
    """Has a history."""
    fetching: DatasetVersion
    unfetched: DatasetVersion
    tools: DatasetVersion
    judged: DatasetVersion
    reading: DatasetVersion


def set_the_stage(*, long_steps: int = 0) -> Stage:
    random.seed(7)
    cast = meet_the_cast()
    model = big_model()
    tickets, broken = dataset(cast, "support-tickets", rows=4_800), dataset(cast, "tickets-of-may", rows=40, bad=3)
    count_tokens(tickets, model=cast.base_model)
    models_in_other_states()
    uploads_on_their_way(cast)
    farm, small = gpu_worker(), cpu_worker(cast)
    second = second_machine(farm)
    on_farm = (cast, farm, model, tickets)
    jobs = {
        "succeeded": succeeded_job(cast, small),
        "failed": out_of_memory(*on_farm),
        "diverged": diverged(*on_farm),
        "bad_data": nothing_to_train(*on_farm),
        "poison": poison(*on_farm),
        "saved": saved_job(*on_farm),
        "paused": paused(*on_farm),
        "cancelled": cancelled_with_checkpoint(*on_farm),
        "second_try": second_try(cast, farm, second, model, tickets),
        "running": running_job(*on_farm, steps=2000, done=1285),
        "starting": starting_job(*on_farm),
        "other": running_job(*on_farm, steps=600, done=80, user=cast.bob, name="tone-of-voice", slot=3),
        "pausing": pausing(*on_farm),
        "stopping": stopping(*on_farm),
        "preference": preference_run(cast, farm, model, answer_pairs(cast)),
    }
    jobs["pair_lora"], jobs["pair_qlora"] = a_pair(*on_farm)
    jobs["half_lora"], jobs["half_qlora"] = half_a_pair(*on_farm)
    if long_steps:
        jobs["long"] = running_job(*on_farm, steps=long_steps, done=long_steps, name="long-run", slot=4)
    jobs["lost_once"] = lost_once(*on_farm)  # waits in the queue from here on: nothing of this pool is claimed after it
    waiting = WorkerPool.objects.create(name="a10-dev", description="Two A10G for quick tries")
    jobs["queued"] = a_queue(cast, waiting, model, tickets)
    others_machines(waiting)
    disk_runs_short(second)
    leftovers()
    used_lately(cast)
    stored = {name: Job.objects.get(pk=job.pk) for name, job in jobs.items()}
    fetched = {"fetching": fetching(cast), "unfetched": not_fetched(cast)}
    to_read = {
        "tools": tool_calls(cast),
        "judged": judged_answers(cast),
        "reading": still_read(cast),
        "unsure": unsure_questions(cast),
    }
    return Stage(cast, stored, waiting, dataset=tickets, broken=broken, faq=history(cast), **fetched, **to_read)
