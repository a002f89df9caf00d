"""The memory estimate of this very run, with the plan and the rows that it has: what the measurement is held against."""

from typing import Any

from worker.contract.filling import filled
from worker.contract.objective import sequences_of
from worker.contract.shapes import UnknownShape, shape_of
from worker.contract.vram import RowLengths, memory_parts
from worker.qlora.dataset import lengths_of, longest_of
from worker.qlora.prepared import Prepared


def memory_parts_of(prepared: Prepared, *, model: Any, steps: int) -> dict[str, int]:
    """Empty for a model whose family is not counted, and where the rows' lengths are not known."""
    plan, columns = prepared.choices.execution, prepared.data.train.column_names
    if plan is None or "length" not in columns:
        return {}
    try:
        shape = shape_of(model.config.to_dict())
    except UnknownShape:
        return {}
    lengths = lengths_of(prepared.data.train)
    is_padded = plan.kind == "plain" and not prepared.data.is_binned
    rows = plan.passes.per_device_train_batch_size
    order = prepared.watched.data_order
    longest = longest_of(prepared.data.train) if is_padded else lengths
    places = order.largest_pass(longest, rows_a_pass=rows, after_step=0, last_step=steps, is_padded=is_padded)
    sequences = sequences_of(prepared.order.spec.objective.kind)
    tokens = sequences * int(longest[places].max()) * len(places) if is_padded else filled(int(lengths[places].sum()))
    found = RowLengths(longest=int(lengths.max()), mean=float(lengths.mean()))
    return memory_parts(prepared.order.spec, shape, rows=found, plan=plan, pass_tokens=tokens).as_dict()
