"""What each objective's TRL config is told: the contract's fields under their own names."""

from typing import Any

from worker.contract.objective import Dpo, Kto, Orpo, Reward
from worker.contract.spec import FinetuneSpec


def config_class(spec: FinetuneSpec) -> Any:
    import trl

    if spec.objective.kind == "orpo":  # one of the trainers that TRL keeps apart, until they are asked for more
        from trl.experimental.orpo import ORPOConfig

        return ORPOConfig
    return {"sft": trl.SFTConfig, "dpo": trl.DPOConfig, "kto": trl.KTOConfig, "reward": trl.RewardConfig}[spec.objective.kind]


def objective_arguments(spec: FinetuneSpec) -> dict[str, Any]:
    """Rows come tokenised and cut. Dropout stays off for preferences, as TRL has it."""
    objective = spec.objective
    match objective:
        case Dpo():
            return {
                "max_length": None,
                "beta": objective.beta,
                "loss_type": [objective.loss_type],
                "label_smoothing": objective.label_smoothing,
                "precompute_ref_log_probs": spec.is_full,  # no second copy of the weights
            }
        case Orpo():
            return {"max_length": spec.training.max_length, "beta": objective.beta}
        case Kto():
            return {
                "max_length": None,
                "beta": objective.beta,
                "desirable_weight": objective.desirable_weight,
                "undesirable_weight": objective.undesirable_weight,
            }
        case Reward():
            return {"max_length": None, "center_rewards_coefficient": objective.center_rewards_coefficient}
        case _:
            return {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
