"""What the Settings page shows: the policy, what cleaning would delete now, and how much disk is left."""

from dataclasses import dataclass
from itertools import islice

from webapp.disk import DiskState as DiskState
from webapp.disk import disk_state as disk_state
from webapp.upkeep.leftovers import KINDS
from webapp.upkeep.models import UpkeepPolicy

ONLY_ROW = 1
EXAMPLES = 5


@dataclass(frozen=True)
class Leftover:
    """One kind of things that would be deleted, or were."""

    key: str
    label: str
    why: str
    count: int
    size_bytes: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class CleanupPlan:
    leftovers: tuple[Leftover, ...]

    @property
    def count(self) -> int:
        return sum(each.count for each in self.leftovers)

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.leftovers)


def upkeep_policy() -> UpkeepPolicy:
    """As an administrator set it, else the defaults (not stored)."""
    return UpkeepPolicy.objects.select_related("changed_by").filter(pk=ONLY_ROW).first() or UpkeepPolicy(pk=ONLY_ROW)


def plan_cleanup() -> CleanupPlan:
    """What `clean_up` would delete now; nothing is touched."""
    policy = upkeep_policy()
    found = {kind: list(kind.find(policy)) for kind in KINDS}
    return CleanupPlan(
        tuple(
            Leftover(
                key=kind.key,
                label=kind.label,
                why=kind.why,
                count=len(things),
                size_bytes=sum(thing.size_bytes for thing in things),
                examples=tuple(thing.name for thing in islice(things, EXAMPLES)),
            )
            for kind, things in found.items()
        )
    )
