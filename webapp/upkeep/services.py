"""Changes the policy of the dashboard's own files, and cleans up by it: once an hour by the reaper process, or by a button."""

import logging
import math
from dataclasses import asdict
from typing import Any

from webapp.accounts.models import User
from webapp.jobs.clock import database_now
from webapp.upkeep.leftovers import KINDS, Kind
from webapp.upkeep.models import UpkeepPolicy
from webapp.upkeep.selectors import ONLY_ROW, CleanupPlan, Leftover, upkeep_policy

logger = logging.getLogger(__name__)
LONGEST_DAYS = 36_500


class UpkeepRefused(Exception):
    """The sentence for the user; `field` names the form field at fault, empty when none is."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def change_policy(*, by: User, keep_checkpoints_days: float, keep_logs_days: float | None) -> UpkeepPolicy:
    """Holds from the next cleaning. Raises UpkeepRefused."""
    _must_be_administrator(by)
    _check_days("keep_checkpoints_days", keep_checkpoints_days)
    if keep_logs_days is not None:
        _check_days("keep_logs_days", keep_logs_days)
    days = {"keep_checkpoints_days": keep_checkpoints_days, "keep_logs_days": keep_logs_days}
    return _store(**days, changed_by=by, changed_at=database_now())


def clean_up(*, by: User | None = None) -> CleanupPlan:
    """Deletes what `plan_cleanup` shows and returns what is gone. One thing that cannot be deleted does not stop the rest."""
    if by is not None:
        _must_be_administrator(by)
    policy = upkeep_policy()
    done = CleanupPlan(tuple(_clean(kind, policy) for kind in KINDS))
    _store(cleaned_at=database_now(), cleaned=[asdict(each) for each in done.leftovers if each.count])
    if done.count:
        logger.info("Housekeeping deleted %d things of %d bytes%s", done.count, done.size_bytes, f" for {by.name}" if by else "")
    return done


def _clean(kind: Kind, policy: UpkeepPolicy) -> Leftover:
    count, size = 0, 0
    for thing in list(kind.find(policy)):
        try:
            thing.delete()
        except OSError as error:
            logger.warning("Housekeeping could not delete %s: %s", thing.name, error)
            continue
        count, size = count + 1, size + thing.size_bytes
    return Leftover(key=kind.key, label=kind.label, why=kind.why, count=count, size_bytes=size)


def _store(**changes: Any) -> UpkeepPolicy:
    policy, _ = UpkeepPolicy.objects.update_or_create(pk=ONLY_ROW, defaults=changes)
    return policy


def _must_be_administrator(user: User) -> None:
    if not (user.is_active and user.is_admin):
        raise UpkeepRefused("Only administrators set how the dashboard cleans up.")


def _check_days(field: str, days: float) -> None:
    if not (math.isfinite(days) and 0 <= days <= LONGEST_DAYS):
        raise UpkeepRefused(f"Give a number of days between 0 and {LONGEST_DAYS:,}.", field=field)
