"""What makes a pass's loss of its batch: token losses for SFT, pairs for DPO and ORPO. Plain torch on few numbers, capturable."""

from typing import Any, Protocol

import torch
from torch import Tensor

from worker.contract.objective import Dpo, Orpo, Reward
from worker.qlora.packed.decoder import Decoder, Pass
from worker.qlora.packed.pairs import PairPass, ScorePass
from worker.qlora.preference.losses import (
    DPO_TOLD,
    ORPO_TOLD,
    REWARD_TOLD,
    Answers,
    dpo_losses,
    dpo_told,
    orpo_losses,
    orpo_told,
    reward_losses,
    reward_told,
)


class PassLoss(Protocol):
    told: tuple[str, ...]
    """Names of what `forward` tells after the loss itself."""

    def make(self, common: dict[str, Any], batch: dict[str, Any], *, items: int, tokens: int) -> Pass:
        """`items`: of the effective batch, tokens or pairs, that the loss is the mean of. `tokens`: of its chosen rows."""
        ...

    def forward(self, given: Any, *, is_training: bool) -> tuple[Tensor, Tensor]:
        """The loss, and [loss, *told] of this pass: sums over the passes of a step are the step's."""
        ...


class TokenLoss:
    told: tuple[str, ...] = ()

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def make(self, common: dict[str, Any], batch: dict[str, Any], *, items: int, tokens: int) -> Pass:
        return Pass(**common, scale=torch.tensor([1.0 / max(items, 1)]))

    def forward(self, given: Pass, *, is_training: bool) -> tuple[Tensor, Tensor]:
        loss = self._decoder.loss(given, is_training=is_training)
        return loss, loss.detach()[None]


class PairLoss:
    """DPO and ORPO. The reference's log-probabilities come first: nothing of the way back is held yet."""

    def __init__(self, decoder: Decoder, objective: Dpo | Orpo, *, pairs_a_pass: int) -> None:
        self._decoder, self._objective, self._pairs = decoder, objective, pairs_a_pass
        self.told: tuple[str, ...] = DPO_TOLD if isinstance(objective, Dpo) else ORPO_TOLD

    def make(self, common: dict[str, Any], batch: dict[str, Any], *, items: int, tokens: int) -> Pass:
        weights = weights_of(batch, pairs=self._pairs, items=items)
        return PairPass(**common, scale=torch.tensor([1.0 / max(tokens, 1)]), slots=batch["slots"][0], weights=weights)

    def forward(self, given: PairPass, *, is_training: bool) -> tuple[Tensor, Tensor]:
        reference = self._reference(given) if isinstance(self._objective, Dpo) else None
        sums = in_slots(self._decoder.log_probabilities(given, is_training=is_training), given)
        answers = Answers(sums=sums[:-2], counts=in_slots((given.labels >= 0).float(), given)[:-2])
        if reference is not None and isinstance(self._objective, Dpo):
            losses = dpo_losses(answers, reference[:-2], objective=self._objective)
            told = dpo_told(answers, reference[:-2], objective=self._objective)
            loss = (losses * given.weights).sum()
        else:
            assert isinstance(self._objective, Orpo)
            preference, told = orpo_losses(answers, objective=self._objective), orpo_told(answers, objective=self._objective)
            nll = -(sums[:-2:2].sum() + sums[-2]) * given.scale[0]
            loss = nll + (preference * given.weights).sum()
        means = (torch.stack(told, 1) * given.weights[:, None]).sum(0)
        if reference is None:
            means = torch.cat([means, nll[None]])
        return loss, torch.cat([loss[None], means]).detach()

    @torch.no_grad()
    def _reference(self, given: PairPass) -> Tensor:
        return in_slots(self._decoder.log_probabilities(given, is_training=False, is_adapted=False), given)


class ScoreLoss:
    """Reward modelling: each row's score is read at its last token, by a head in float32."""

    told = REWARD_TOLD

    def __init__(self, decoder: Decoder, objective: Reward, *, pairs_a_pass: int) -> None:
        self._decoder, self._objective, self._pairs = decoder, objective, pairs_a_pass

    def make(self, common: dict[str, Any], batch: dict[str, Any], *, items: int, tokens: int) -> Pass:
        weights = weights_of(batch, pairs=self._pairs, items=items)
        return ScorePass(**common, scale=torch.ones(1), lasts=batch["lasts"][0], weights=weights)

    def forward(self, given: ScorePass, *, is_training: bool) -> tuple[Tensor, Tensor]:
        hidden = self._decoder.hidden(given, is_training=is_training)
        assert self._decoder.score is not None
        scores = ScoreProduct.apply(hidden.index_select(0, given.lasts).float(), self._decoder.score)
        loss = (reward_losses(scores, objective=self._objective) * given.weights).sum()
        means = (torch.stack(reward_told(scores), 1) * given.weights[:, None]).sum(0)
        return loss, torch.cat([loss[None], means]).detach()


class ScoreProduct(torch.autograd.Function):
    """(rows, h) → (rows,). Adds to the head's gradient right here: a captured pass may not wait for a leaf's stream."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor) -> Tensor:
        ctx.save_for_backward(hidden)
        ctx.head = head
        return hidden @ head.detach()[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (hidden,) = ctx.saved_tensors
        ctx.head.grad.add_((grads[0] @ hidden)[None])
        return grads[0][:, None] * ctx.head.detach(), None


def weights_of(batch: dict[str, Any], *, pairs: int, items: int) -> Tensor:
    """(pairs,): one over the pairs of the effective batch, 0 for those that this pass lacks."""
    weights = torch.zeros(pairs)
    weights[: batch["pairs"]] = 1.0 / max(items, 1)
    return weights


def in_slots(of_tokens: Tensor, given: PairPass) -> Tensor:
    """(2 pairs + 2,) float32. Added up in float64, where the order, which a GPU leaves open, makes no difference."""
    sums = torch.zeros(2 * given.pairs + 2, dtype=torch.float64, device=of_tokens.device)
    return sums.index_add(0, given.slots, of_tokens.double()).float()
