"""Which slots a job gets on a machine, now or when it is empty."""

from webapp.pools.fit import Card, Machine, Need, largest_card

GB = 10**9
LARGE, SMALL = Card(0, 80 * GB), Card(1, 24 * GB)


def test_an_unknown_need_fits_everywhere() -> None:
    assert Machine(1, (SMALL,)).slots_for(Need()) == (0,)
    assert Machine(2, (SMALL,), {0: 24 * GB}).slots_for(Need()) == (1,)


def test_a_job_needs_the_memory_of_one_gpu() -> None:
    machine = Machine(2, (LARGE, SMALL))
    assert machine.slots_for(Need(memory_bytes=30 * GB)) == (0,)
    assert machine.slots_for(Need(memory_bytes=30 * GB), first=1) == ()
    assert machine.slots_for(Need(memory_bytes=20 * GB), first=1) == (1,)
    assert not machine.fits_empty(Need(memory_bytes=81 * GB))


def test_what_the_worker_measured_counts_too() -> None:
    machine, need = Machine(1, (LARGE,)), Need(memory_bytes=30 * GB)
    assert machine.slots_for(need, first=0, told_free_bytes=29 * GB) == ()
    assert machine.slots_for(need, first=0, told_free_bytes=30 * GB) == (0,)


def test_strangers_take_from_what_there_is() -> None:
    machine = Machine(1, (Card(0, 80 * GB, 38 * GB),))
    assert machine.fits_empty(Need(memory_bytes=42 * GB))
    assert not machine.fits_empty(Need(memory_bytes=43 * GB))


def test_small_jobs_share_a_gpu_while_their_estimates_fit_together() -> None:
    need = Need(memory_bytes=30 * GB)
    assert Machine(3, (LARGE,), {0: 30 * GB}).slots_for(need) == (1,)
    assert Machine(3, (LARGE,), {0: 30 * GB, 1: 30 * GB}).slots_for(need) == ()
    assert Machine(3, (LARGE,), {0: 30 * GB, 1: 30 * GB}).slots_for(Need(memory_bytes=20 * GB)) == (2,)


def test_slots_go_round_the_gpus() -> None:
    machine = Machine(4, (LARGE, SMALL))
    assert [card.index for slot in range(4) if (card := machine.card_of(slot))] == [0, 1, 0, 1]


def test_a_wide_job_takes_one_slot_of_each_gpu() -> None:
    machine = Machine(4, (Card(0, 80 * GB), Card(1, 80 * GB)))
    assert machine.slots_for(Need(slots=2, memory_bytes=50 * GB), first=2) == (2, 1)
    assert machine.slots_for(Need(slots=3)) == (), "there are two GPUs"
    assert Machine(4, machine.cards, {1: 40 * GB}).slots_for(Need(slots=2, memory_bytes=50 * GB)) == ()


def test_a_machine_without_gpus_is_asked_for_the_weights_alone() -> None:
    need = Need(memory_bytes=500 * GB, weights_bytes=2 * GB)
    assert Machine(1).slots_for(need, first=0, told_free_bytes=3 * GB) == (0,)
    assert Machine(1).slots_for(need, first=0, told_free_bytes=1 * GB) == ()
    assert Machine(4).slots_for(Need(slots=3), first=1) == (1, 0, 2)
    assert Machine(2).slots_for(Need(slots=3)) == ()


def test_the_largest_gpu() -> None:
    assert largest_card([Machine(1, (SMALL,)), Machine(1, (LARGE,)), Machine(1)]) == 80 * GB
    assert largest_card([]) == 0
