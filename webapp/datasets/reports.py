"""Reports on rows, as they are kept with a version."""

from worker.contract.rows_report import FileRefusal, PreviewRow, RowsReport

PREVIEW_BUDGET = 256 * 2**10  # characters of preview kept: it is read with every look at the page


def unfinished(reason: str) -> RowsReport:
    fix = "Check it again. If that fails too, split the file into smaller ones."
    return RowsReport(refusal=FileRefusal(kind="unreadable", reason=reason, fix=fix))


def within_budget(report: RowsReport) -> RowsReport:
    """Without the preview rows for which there is no room."""
    room = PREVIEW_BUDGET
    kept: list[PreviewRow] = []
    for row in report.preview:
        room -= sum(len(turn.text) + 40 for turn in row.turns)
        if room < 0 and kept:
            break
        kept.append(row)
    return report.model_copy(update={"preview": tuple(kept)})
