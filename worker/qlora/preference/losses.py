"""The losses of pairs, from the sums of their answers' log-probabilities: TRL's formulas, pair by pair."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from worker.contract.objective import Dpo, Orpo, Reward

TOLD = ("rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected")
DPO_TOLD = TOLD
ORPO_TOLD = (*TOLD, "log_odds_ratio", "log_odds_chosen", "nll_loss")

REWARD_TOLD: tuple[str, ...] = ("mean_reward", "accuracy", "margin")


@dataclass(frozen=True)
class Answers:
    """sums, counts (2 pairs,): log-probability and tokens of each answer; chosen and rejected in turn. An absent pair has 0 tokens."""

    sums: Tensor
    counts: Tensor

    @property
    def means(self) -> Tensor:
        """Of an absent pair −1: its gradient is a number, which its weight of 0 takes away."""
        return torch.where(self.counts > 0, self.sums / self.counts.clamp(min=1), -1.0)


def dpo_losses(answers: Answers, reference: Tensor, *, objective: Dpo) -> Tensor:
    """(pairs,). reference (2 pairs,): the sums under the base model."""
    ratios, beta = answers.sums - reference, objective.beta
    chosen, rejected = ratios[::2], ratios[1::2]
    margin = beta * (chosen - rejected)
    match objective.loss_type:
        case "sigmoid":
            return -logsigmoid(margin)
        case "hinge":
            return torch.relu(1 - margin)
        case "ipo":
            means = ratios / answers.counts.clamp(min=1)
            return (means[::2] - means[1::2] - 1 / (2 * beta)) ** 2
        case "robust":
            wrong = objective.label_smoothing
            return (-(1 - wrong) * logsigmoid(margin) + wrong * logsigmoid(-margin)) / (1 - 2 * wrong)
        case "apo_zero":
            return 1 - torch.sigmoid(beta * chosen) + torch.sigmoid(beta * rejected)
        case "apo_down":
            return torch.sigmoid(beta * chosen) + 1 - torch.sigmoid(margin)


def dpo_told(answers: Answers, reference: Tensor, *, objective: Dpo) -> list[Tensor]:
    return _told(objective.beta * (answers.sums - reference), answers.sums)


def orpo_losses(answers: Answers, *, objective: Orpo) -> Tensor:
    """(pairs,): the preference's part, beside the chosen rows' own loss."""
    return -objective.beta * logsigmoid(log_odds(answers))


def orpo_told(answers: Answers, *, objective: Orpo) -> list[Tensor]:
    odds = log_odds(answers)
    return [*_told(objective.beta * answers.means, answers.means), logsigmoid(odds), odds]


def reward_losses(scores: Tensor, *, objective: Reward) -> Tensor:
    """scores (2 pairs,), chosen and rejected in turn → (pairs,)."""
    chosen, rejected = scores[::2], scores[1::2]
    losses = -logsigmoid(chosen - rejected)
    centred = objective.center_rewards_coefficient
    return losses if centred is None else losses + centred * (chosen + rejected) ** 2


def reward_told(scores: Tensor) -> list[Tensor]:
    chosen, rejected = scores[::2], scores[1::2]
    return [(chosen + rejected) / 2, (chosen > rejected).float(), chosen - rejected]


def log_odds(answers: Answers) -> Tensor:
    means = answers.means
    unlikely = log_of_rest(means)
    return (means[::2] - means[1::2]) - (unlikely[::2] - unlikely[1::2])


def log_of_rest(x: Tensor) -> Tensor:
    """log(1 − exp(x)) of x < 0; from −ln 2 on by another formula, since the first would cancel out."""
    return torch.where(x < -0.6931471805599453, torch.log1p(-torch.exp(x)), torch.log(-torch.expm1(x)))


def _told(rewards: Tensor, log_probabilities: Tensor) -> list[Tensor]:
    """TOLD of each pair."""
    chosen, rejected = rewards[::2], rewards[1::2]
    accuracies = (chosen > rejected).float()
    return [chosen, rejected, accuracies, chosen - rejected, log_probabilities[::2], log_probabilities[1::2]]
