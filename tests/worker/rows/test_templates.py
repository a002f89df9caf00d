"""Chat templates that loop, grow, or reach for Python: each ends in a sentence, soon, and leaves the process as it was."""

import resource
import signal
import threading
import time

import pytest

from tests.worker.tiny_tokenizer import CHATML, tiny_tokenizer
from worker.qlora.row_tokenizer import wrapped
from worker.rows import limits
from worker.rows.errors import NoMaskRule, RuleFailed
from worker.rows.rendering import render
from worker.rows.shapes import read_row
from worker.rows.tokenizing import tokenize_rows

MESSAGES = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
NESTED = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
WRITES = "{% for a in range(99999) %}{% for b in range(99999) %}{{ 'line after line after line' }}{% endfor %}{% endfor %}"
DOUBLES = "{% set ns = namespace(t='ab') %}{% for a in range(40) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t }}"
ADDS = DOUBLES.replace("~", "+")
SQUARES = "{% set ns = namespace(n=99) %}{% for a in range(60) %}{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n }}"
BUFFERS = "{% set text %}" + WRITES + "{% endset %}{{ text }}"
FORMAT = "{{ '%2000000000d' % 1 }}"


def run(template: str, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 0.5) -> str:
    monkeypatch.setattr(limits, "RENDERING_SECONDS", seconds)
    with pytest.raises(RuleFailed) as failed:
        render(wrapped(tiny_tokenizer(template)), messages=MESSAGES)
    return str(failed.value)


@pytest.mark.parametrize("template", [NESTED, "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}" + NESTED])
def test_a_loop_without_end_is_stopped(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = time.monotonic()
    assert "does not come to an end: it was stopped after 0.5 s" in run(template, monkeypatch)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "template",
    [
        WRITES,
        BUFFERS,
        DOUBLES,
        ADDS,
        FORMAT,
        SQUARES,
        "{{ 'a' * 2000000000 }}",
        "{{ 2000000000 * 'a' }}",
        "{{ [1] * 2000000000 }}",
        "{{ 'a' | center(2000000000) }}",
        "{{ 'a'.ljust(2000000000) }}",
        "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
        "{{ '{:2000000000}'.format(1) }}",
    ],
)
def test_a_text_of_gigabytes_is_not_made(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "16 million characters" in run(template, monkeypatch, seconds=60)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # kB


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ (namespace.__init__).__globals__ }}",
        "{{ namespace(__class__=1) }}",
        "{% set ns = namespace() %}{% set ns.__init__ = 1 %}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ strftime_now.__code__ }}{{ strftime_now.__globals__.datetime }}",
        "{{ dict.__class__ }}{{ dict.mro().x }}",
        "{{ '{0.__class__.__mro__}'.format('') }}{{ ''.x.y }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ 10 ** 10 ** 10 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ range(10000000000) | list }}",
    ],
)
def test_pythons_insides_are_out_of_reach(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = run(template, monkeypatch, seconds=10)
    assert said.startswith("the chat template ")
    assert len(said) < 400


def test_what_is_no_template_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot be read" in run("{% for %}", monkeypatch)
    assert "cannot be read" in run("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", monkeypatch)


def test_the_process_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    before = (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL))
    run(NESTED, monkeypatch, seconds=0.1)
    run(DOUBLES, monkeypatch, seconds=60)
    assert "one" in render(wrapped(tiny_tokenizer(CHATML)), messages=MESSAGES)
    after = (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL))
    assert after == before


def test_a_thread_that_could_not_stop_a_template_does_not_begin_one() -> None:
    tokenizer, found = wrapped(tiny_tokenizer(CHATML)), []

    def work() -> None:
        try:
            render(tokenizer, messages=MESSAGES)
        except RuntimeError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "main thread" in found[0]


def test_a_run_on_such_a_template_fails_with_the_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RENDERING_SECONDS", 0.2)
    row = read_row({"messages": MESSAGES})
    with pytest.raises(NoMaskRule, match="does not come to an end"):
        tokenize_rows([row], format="messages", tokenizer=wrapped(tiny_tokenizer(NESTED)), max_length=64)
    with pytest.raises(NoMaskRule, match="does not come to an end"):
        tokenize_rows([row], format="messages", tokenizer=wrapped(tiny_tokenizer(NESTED)), max_length=64, train_on="whole_row")
