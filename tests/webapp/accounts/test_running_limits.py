"""Limits of slots held at once: set by administrators, for teams and members."""

import pytest

from tests.cast import Cast
from webapp.accounts.models import Team, User
from webapp.accounts.services import LimitRefused, set_member_limit, set_team_limits


def test_it_works(cast: Cast) -> None:
    team = cast.alice.team
    set_team_limits(team, by=cast.ada, running_limit=4, member_running_limit=2)
    stored = Team.objects.get(pk=team.pk)
    assert (stored.running_limit, stored.member_running_limit) == (4, 2) == (team.running_limit, team.member_running_limit)
    set_member_limit(cast.alice, by=cast.ada, running_limit=0)
    assert User.objects.get(pk=cast.alice.pk).running_limit == 0
    set_team_limits(team, by=cast.ada, running_limit=None, member_running_limit=None)
    set_member_limit(cast.alice, by=cast.ada, running_limit=None)
    assert Team.objects.get(pk=team.pk).running_limit is None
    assert User.objects.get(pk=cast.alice.pk).running_limit is None


def test_a_member_is_refused(cast: Cast) -> None:
    with pytest.raises(LimitRefused, match="administrators"):
        set_team_limits(cast.alice.team, by=cast.alice, running_limit=100, member_running_limit=None)
    with pytest.raises(LimitRefused, match="administrators"):
        set_member_limit(cast.alice, by=cast.alice, running_limit=None)


@pytest.mark.parametrize("value", [-1, 10_001])
def test_values_out_of_bounds_are_refused_by_name(cast: Cast, value: int) -> None:
    with pytest.raises(LimitRefused) as refused:
        set_team_limits(cast.alice.team, by=cast.ada, running_limit=1, member_running_limit=value)
    assert refused.value.field == "member_running_limit"
    assert Team.objects.get(pk=cast.alice.team_id).running_limit is None
    with pytest.raises(LimitRefused):
        set_member_limit(cast.alice, by=cast.ada, running_limit=value)
