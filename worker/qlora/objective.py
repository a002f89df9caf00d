"""What is learned: the trainer, the collator and the kind of model that each objective takes."""

from typing import Any

from worker.contract.objective import Dpo, Orpo, Reward
from worker.contract.spec import FinetuneSpec
from worker.contract.untrainable import why_not_trained
from worker.qlora.failures import RunFailed
from worker.qlora.objective_arguments import config_class as config_class
from worker.qlora.packed.collating import PackedCollator
from worker.qlora.packed.decoder import Decoder
from worker.qlora.packed.losses import PairLoss, PassLoss, ScoreLoss, TokenLoss
from worker.qlora.packed.pairs import PackedPairCollator
from worker.qlora.training import WatchedTrainer

TASK_TYPES = {"reward": "SEQ_CLS"}
"""PEFT's; for any other objective CAUSAL_LM. SEQ_CLS trains and saves the score head beside the adapter."""


def check_objective(spec: FinetuneSpec) -> None:
    """The door refuses these too; an order of before it did comes here."""
    if why_not := why_not_trained(spec):
        raise RunFailed("bad_config", why_not.sentence, advice=why_not.advice)


def task_type(spec: FinetuneSpec) -> str:
    return TASK_TYPES.get(spec.objective.kind, "CAUSAL_LM")


def trainer_class(spec: FinetuneSpec, *, is_packed: bool = False) -> type[WatchedTrainer]:
    """Imported when asked for: each is another file of TRL."""
    match spec.objective.kind:
        case "dpo" | "orpo" | "reward" if is_packed:
            from worker.qlora.preference import packed

            return {"dpo": packed.PackedDpo, "orpo": packed.PackedOrpo, "reward": packed.PackedReward}[spec.objective.kind]
        case "dpo":
            from worker.qlora.preference.dpo import WatchedDpo

            return WatchedDpo
        case "orpo":
            from worker.qlora.preference.orpo import WatchedOrpo

            return WatchedOrpo
        case "kto":
            from worker.qlora.preference.kto import WatchedKto

            return WatchedKto
        case "reward":
            from worker.qlora.preference.reward import WatchedReward

            return WatchedReward
        case _:
            from worker.qlora.running_ahead import PackedSft
            from worker.qlora.training import WatchedSft

            return PackedSft if is_packed else WatchedSft


def packed_collator(spec: FinetuneSpec, *, rows_a_pass: int, longest: int, is_filled: bool, pad_token_id: int) -> Any:
    """Rows, or both rows of each pair, laid end to end."""
    if spec.objective.kind == "sft":
        return PackedCollator(rows_a_pass, longest=longest, is_filled=is_filled)
    learns_asked = spec.objective.kind == "orpo"
    return PackedPairCollator(
        rows_a_pass, longest=longest, is_filled=is_filled, learns_asked=learns_asked, pad_token_id=pad_token_id
    )


def pass_loss(spec: FinetuneSpec, decoder: Decoder, *, rows_a_pass: int) -> PassLoss:
    """What a packed pass's loss is made of."""
    if isinstance(spec.objective, Dpo | Orpo):
        return PairLoss(decoder, spec.objective, pairs_a_pass=rows_a_pass)
    if isinstance(spec.objective, Reward):
        return ScoreLoss(decoder, spec.objective, pairs_a_pass=rows_a_pass)
    return TokenLoss(decoder)


def plain_collator(spec: FinetuneSpec, *, pad_token_id: int, is_binned: bool = False) -> Any:
    """Rows padded to the longest of a pass."""
    if spec.objective.kind == "sft":
        from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

        return DataCollatorForLanguageModeling(pad_token_id=pad_token_id, padding_free=is_binned)
    from worker.qlora.preference import collating

    collators = {
        "dpo": collating.PairCollator,
        "orpo": collating.OrpoCollator,
        "kto": collating.KtoCollator,
        "reward": collating.RewardCollator,
    }
    return collators[spec.objective.kind](pad_token_id)
