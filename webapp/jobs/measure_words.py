"""What the objectives tell beside the loss, under TRL's names: a title and a sentence for each, and which share a chart. Pure."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

EVALUATED = "eval_"
"""In front of a name: measured on the rows held out."""


@dataclass(frozen=True)
class MeasureWords:
    title: str
    short: str
    """A few words, for a row of the comparison."""
    is_compared: bool = True


MEASURES: dict[str, MeasureWords] = {
    "rewards/accuracies": MeasureWords("Pairs told apart", "share in which the chosen answer scores higher"),
    "rewards/margins": MeasureWords("Margin of the chosen answers", "score of the chosen minus that of the rejected"),
    "rewards/chosen": MeasureWords("Score of chosen answers", "mean", is_compared=False),
    "rewards/rejected": MeasureWords("Score of rejected answers", "mean", is_compared=False),
    "accuracy": MeasureWords("Pairs told apart", "share in which the chosen answer scores higher"),
    "margin": MeasureWords("Margin of the chosen answers", "score of the chosen minus that of the rejected"),
    "kl": MeasureWords("Distance from the start (KL)", "how far its answers have moved from the model that it began from"),
    "mean_token_accuracy": MeasureWords("Tokens guessed right", "share of the trained tokens that were its first guess"),
}


@dataclass(frozen=True)
class MeasureChart:
    """One chart of the job page; `lines` are (name, label, colour of the page's palette)."""

    key: str
    title: str
    sentence: str
    lines: tuple[tuple[str, str, str], ...]
    is_share: bool = False


ONE, TWO = "chart-loss", "chart-eval"
CHARTS = (
    MeasureChart(
        "accuracies",
        "Pairs told apart",
        "Share of the pairs in which the chosen answer scores higher than the rejected one. A half is chance; it should rise.",
        (("rewards/accuracies", "train", ONE), ("accuracy", "train", ONE)),
        is_share=True,
    ),
    MeasureChart(
        "margins",
        "Margin",
        "How much higher the chosen answers score than the rejected ones. It should rise, and level off rather than run away.",
        (("rewards/margins", "train", ONE), ("margin", "train", ONE)),
    ),
    MeasureChart(
        "rewards",
        "Scores of the answers",
        "What the objective gives each answer; under DPO and KTO, how much likelier it has become since the start. "
        "When both fall, the model forgets how to write either.",
        (("rewards/chosen", "chosen", "chart-speed"), ("rewards/rejected", "rejected", "chart-rate")),
    ),
    MeasureChart(
        "kl",
        "Distance from the start (KL)",
        "How far the answers have moved away from the model that the run began with. A steep rise asks for a larger beta.",
        (("kl", "KL", "chart-norm"),),
    ),
    MeasureChart(
        "logps",
        "Log-probability of the answers",
        "How likely the model finds the whole answers, summed over their tokens: nearer to zero is likelier.",
        (("logps/chosen", "chosen", "chart-speed"), ("logps/rejected", "rejected", "chart-rate")),
    ),
    MeasureChart(
        "reward_range",
        "Scores that are given",
        "Lowest, mean and highest score of the answers in a step. They spread as the model learns to tell answers apart.",
        (("min_reward", "lowest", "chart-rate"), ("mean_reward", "mean", ONE), ("max_reward", "highest", "chart-speed")),
    ),
    MeasureChart(
        "odds",
        "Odds of the chosen answer",
        "Logarithm of the chosen answer's odds over the rejected one's: above zero it is preferred. The penalty that ORPO adds "
        "to the loss nears zero as it rises.",
        (("log_odds_chosen", "odds", ONE), ("log_odds_ratio", "penalty", "chart-rate")),
    ),
    MeasureChart(
        "logits",
        "Logits of the answers",
        "Mean of the raw outputs over the whole vocabulary: a sudden drift is an early sign of trouble.",
        (("logits/chosen", "chosen", "chart-speed"), ("logits/rejected", "rejected", "chart-rate")),
    ),
    MeasureChart(
        "nll", "Loss of the chosen answer", "What the plain loss of the chosen answers alone is.", (("nll_loss", "train", ONE),)
    ),
    MeasureChart(
        "token_accuracy",
        "Tokens guessed right",
        "Share of the trained tokens for which the model's first guess was the right one.",
        (("mean_token_accuracy", "train", ONE),),
        is_share=True,
    ),
    MeasureChart(
        "entropy",
        "Entropy",
        "How undecided the model is about the next token, on average; very low means that it repeats.",
        (("entropy", "train", ONE),),
    ),
)


def charts_for(names: Iterable[str]) -> list[dict[str, Any]]:
    """The charts that have something to show, each with its lines; what no chart knows gets one under its own name."""
    told = set(names)
    known = [chart for chart in (_with_lines(chart, told) for chart in CHARTS) if chart.lines]
    drawn = {name for chart in known for name, _, _ in chart.lines}
    others = sorted({name.removeprefix(EVALUATED) for name in told - drawn})
    plain = [
        MeasureChart(f"other-{place}", name, "As the trainer tells it.", _lines_of(name, told)) for place, name in enumerate(others)
    ]
    return [asdict(chart) for chart in (*known, *plain)]


def _with_lines(chart: MeasureChart, told: set[str]) -> MeasureChart:
    several = len({label for _, label, _ in chart.lines}) > 1
    held_out = tuple((EVALUATED + name, _held_out(label), hue if several else TWO) for name, label, hue in chart.lines)
    lines = tuple(line for line in (*chart.lines, *held_out) if line[0] in told)
    return MeasureChart(chart.key, chart.title, chart.sentence, lines, chart.is_share)


def _held_out(label: str) -> str:
    return "evaluation" if label == "train" else f"{label}, evaluation"


def _lines_of(name: str, told: set[str]) -> tuple[tuple[str, str, str], ...]:
    lines = ((name, "train", ONE), (EVALUATED + name, "evaluation", TWO))
    return tuple(line for line in lines if line[0] in told)
