"""Whether a job can run in several processes, one a GPU, with the result that it has in one. Pure; a sentence when not."""

from worker.contract.quantization import BitsAndBytes8Bit
from worker.contract.spec import FinetuneSpec

MOST = 64


def why_not_shared(spec: FinetuneSpec, *, num_processes: int) -> str:
    """Empty when it can."""
    if num_processes == 1:
        return ""
    return _uneven(spec.training.effective_batch, num_processes) or _one_by_one(spec) or (_unsplit(spec) if spec.plan.fsdp else "")


def _uneven(batch: int, num_processes: int) -> str:
    """Each process trains on an equal part of a step's rows."""
    if batch % num_processes == 0:
        return ""
    numbers = [str(n) for n in range(1, min(batch, MOST) + 1) if batch % n == 0]
    going = f"{', '.join(numbers[:-1])} or {numbers[-1]}" if len(numbers) > 1 else numbers[0]
    return (
        f"The {batch} rows of a step cannot be shared out evenly to {num_processes} GPUs. Use {going}, or another effective batch."
    )


def _one_by_one(spec: FinetuneSpec) -> str:
    """Means over the pairs or rows of a pass: sharing them out is not made for those."""
    if spec.objective.kind == "sft":
        return ""
    return "Learning from preferences runs on one GPU. Use 1 GPU, or supervised fine-tuning (SFT) on several."


def _unsplit(spec: FinetuneSpec) -> str:
    if spec.is_full:
        return "The base model cannot be split over several GPUs while all of its weights are trained. Train an adapter instead."
    if isinstance(spec.quantization, BitsAndBytes8Bit):
        return "A base model in 8 bits cannot be split over several GPUs. Use 4 bits, which take less, or no quantisation."
    return ""
