"""The first queued job of each (priority, rank, team, owner) of a pool, in time that hardly grows with the queue.

A recursive query jumps from one group to the next through the index queue_heads and looks up one job in each: as many steps as
there are members with queued jobs, not as many as there are jobs (docs/decisions/0021). The same text runs on both databases.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from webapp.jobs.fair_share import Shares

_GROUP = ("priority", "queue_rank", "team_id", "owner_id")
_COLUMNS = ", ".join(f"n.{name}" for name in _GROUP)
_BACKWARDS = ", ".join(f"n.{name} DESC" for name in _GROUP)
_QUEUED = "SELECT n.id FROM jobs_job n WHERE n.status = 'queued' AND n.pool_id = %s"


def _before(column: int) -> str:
    """The group with the next smaller value in this column, all columns before it equal: one look into the index.

    One comparison of rows, (a, b, c, d) < (…), would say the same; SQLite uses only its first column and reads the whole group.
    """
    equal = "".join(f" AND n.{name} = g.{name}" for name in _GROUP[:column])
    return f"({_QUEUED}{equal} AND n.{_GROUP[column]} < g.{_GROUP[column]} ORDER BY {_BACKWARDS} LIMIT 1)"


# Only names of columns are filled in; values always travel as parameters. No table is joined to the groups: with the statistics of
# a minute ago PostgreSQL would hash all jobs for it.
GROUPS = f"""
WITH RECURSIVE g({", ".join(_GROUP)}) AS (
  SELECT {_COLUMNS} FROM jobs_job n WHERE n.id = ({_QUEUED} ORDER BY {_BACKWARDS} LIMIT 1)
  UNION ALL
  SELECT {_COLUMNS} FROM g JOIN jobs_job n ON n.id = COALESCE({", ".join(_before(column) for column in (3, 2, 1, 0))})
)"""  # noqa: S608
POOLS_ASKED = 1 + len(_GROUP)  # how often the pool stands in GROUPS
FIRST = """
SELECT g.priority, g.queue_rank, g.team_id, g.owner_id, (
  SELECT CAST(f.queued_at AS text) || ' ' || f.id FROM jobs_job f WHERE f.status = 'queued' AND f.pool_id = %s
  AND f.priority = g.priority AND f.queue_rank = g.queue_rank AND f.team_id = g.team_id AND f.owner_id = g.owner_id
  AND {condition} ORDER BY f.queued_at, f.id LIMIT 1) FROM g"""
NEXT = """
SELECT f.priority, f.queue_rank, f.team_id, f.owner_id, CAST(f.queued_at AS text) || ' ' || f.id FROM jobs_job f
WHERE f.status = 'queued' AND f.pool_id = %s
AND f.priority = %s AND f.queue_rank = %s AND f.team_id = %s AND f.owner_id = %s AND (f.queued_at, f.id) > (%s, %s)
AND {condition} ORDER BY f.queued_at, f.id LIMIT 1"""

Place = tuple[int, int, float, float, datetime, int]
"""Sorts as the queue does: the smaller goes first."""


@dataclass(frozen=True)
class Condition:
    """What a job must meet, as SQL on the columns of jobs_job `f`: those of the index, so that jobs passed over cost little."""

    sql: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Head:
    priority: int
    rank: int
    team: int
    owner: int
    queued_at: datetime
    job: int

    def place(self, shares: Shares) -> Place:
        return (-self.priority, -self.rank, *shares.of(self.team, self.owner), self.queued_at, self.job)


def first_of_each_group(pool: int, condition: Condition) -> list[Head]:
    """In no order. Groups without such a job are left out."""
    return _heads(GROUPS + FIRST.format(condition=condition.sql), *[pool] * (POOLS_ASKED + 1), *condition.values)


def next_in_group(pool: int, head: Head, condition: Condition) -> Head | None:
    """The one after `head` among those of the same member, priority and rank."""
    group = (head.priority, head.rank, head.team, head.owner)
    after = (as_stored(head.queued_at), head.job)
    found = _heads(NEXT.format(condition=condition.sql), pool, *group, *after, *condition.values)
    return found[0] if found else None


def as_stored(moment: datetime) -> Any:
    """SQLite keeps moments as text, in UTC."""
    return connection.ops.adapt_datetimefield_value(moment)


def _heads(sql: str, *values: Any) -> list[Head]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [_head(*row) for row in cursor.fetchall() if row[-1] is not None]


def _head(priority: int, rank: int, team: int, owner: int, job: str) -> Head:
    """`job`: when it was queued, and its number: a subquery gives one value, and both stand in the index."""
    moment, _, number = job.rpartition(" ")
    queued_at = datetime.fromisoformat(moment)
    return Head(priority, rank, team, owner, queued_at if queued_at.tzinfo else queued_at.replace(tzinfo=UTC), int(number))
