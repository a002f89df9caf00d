"""How the rows of a step are run: as the spec asks, or smaller, when the agent says so after CUDA ran out of memory."""

from pathlib import Path

from worker.contract.plan import PassPlan
from worker.contract.training import Training
from worker.qlora.failures import RunFailed


def read_pass_plan(path: Path, *, training: Training, count: int = 1) -> PassPlan:
    """Of one process, where `count` share the rows of a step."""
    try:
        plan = PassPlan.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return PassPlan.as_asked(training, num_processes=count)
    except ValueError as error:
        raise RunFailed("bad_config", f"{path.name} is not a plan of passes: {error}") from error
    if plan.effective_batch * count != training.effective_batch:
        raise RunFailed(
            "bad_config",
            f"{path.name} plans {plan.effective_batch * count} rows a step, but the job asks for {training.effective_batch}.",
            advice="Rows a pass × passes a step must stay the effective batch, or the result would change.",
        )
    return plan
