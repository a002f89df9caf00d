"""events.jsonl by number of line, while others append to it."""

from pathlib import Path

from worker.agent.event_lines import BATCH_BYTES, EventLines, close_last_line, last_of
from worker.contract.events import LogWritten, MetricsLogged, Results, TrainingEnded, append_event


def logs(lines: EventLines, first: int, most: int) -> list[str]:
    return [event.text for event in lines.batch(first, most=most) if isinstance(event, LogWritten)]


def test_it_works(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = EventLines(path)
    assert lines.look() == 0
    assert lines.batch(1, most=10) == ()
    for n in range(1, 6):
        append_event(path, LogWritten(text=f"line {n}"))
    assert lines.look() == 5
    assert logs(lines, 1, 2) == ["line 1", "line 2"]
    assert logs(lines, 4, 10) == ["line 4", "line 5"]
    assert logs(lines, 6, 10) == []


def test_a_batch_is_never_too_large_for_the_door(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(500):
        append_event(path, LogWritten(text="ü" * 4096))  # 24 KB a line, escaped
    lines = EventLines(path)
    lines.look()
    events = lines.batch(1, most=500)
    assert 100 < len(events) < 500
    assert sum(len(event.model_dump_json()) for event in events) < BATCH_BYTES


def test_one_line_always_fits(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind": "log", "text": "' + "x" * (BATCH_BYTES + 10) + '"}\n')
    lines = EventLines(path)
    lines.look()
    assert len(lines.batch(1, most=500)) == 1


def test_the_newest_of_a_kind(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.touch()
    assert last_of(path, TrainingEnded) is None
    append_event(path, MetricsLogged(step=1, epoch=0.1))
    append_event(path, MetricsLogged(step=2, epoch=0.2))
    append_event(path, LogWritten(text='this is no "metrics" event: {"kind": "metrics"}'))
    results = Results(steps=2, epochs=1, train_seconds=1, tokens_seen=1, peak_memory_bytes=1)
    append_event(path, TrainingEnded(outcome="finished", results=results))
    newest = last_of(path, MetricsLogged)
    assert isinstance(newest, MetricsLogged)
    assert newest.step == 2
    assert isinstance(last_of(path, MetricsLogged, TrainingEnded), TrainingEnded)


def test_a_torn_line_is_closed_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"")
    close_last_line(path)
    assert path.read_bytes() == b""
    path.write_bytes(b'{"kind"')
    close_last_line(path)
    close_last_line(path)
    assert path.read_bytes() == b'{"kind"\n'
