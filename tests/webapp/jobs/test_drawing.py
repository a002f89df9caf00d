"""docs/lifecycle.md shows the tables as they are."""

from pathlib import Path

from webapp.jobs.drawing import ATTEMPT_CAUSES, JOB_CAUSES, drawn, redrawn
from webapp.jobs.lifecycle import ATTEMPT_MOVES, JOB_MOVES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "lifecycle.md"


def test_the_page_is_current():
    page = PAGE.read_text()
    assert redrawn(page) == page, "run manage.py draw_lifecycle"
    assert all(f"```mermaid\n{mermaid}\n```" in page for mermaid in drawn().values())


def test_a_table_that_changed_is_noticed():
    page = PAGE.read_text()
    outdated = page.replace("    paused --> queued: resume\n", "")
    assert outdated != page
    assert redrawn(outdated) == page


def test_every_move_is_drawn_and_every_cause_is_a_move():
    for name, moves, causes in (("jobs", JOB_MOVES, JOB_CAUSES), ("attempts", ATTEMPT_MOVES, ATTEMPT_CAUSES)):
        pairs = {(source.value, to.value) for source, targets in moves.items() for to in targets}
        assert set(causes) <= pairs
        assert all(f"    {source} --> {to}" in drawn()[name] for source, to in pairs)
