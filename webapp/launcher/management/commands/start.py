"""manage.py start: the second half of ./start. Sets up, brings everything up, watches over it until Ctrl-C."""

import os
import sys
from argparse import ArgumentParser
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from webapp.accounts.selectors import first_active_administrator
from webapp.launcher import first_steps
from webapp.launcher.demonstration import run_demo
from webapp.launcher.lock import only_one, running_address
from webapp.launcher.machine import Machine
from webapp.launcher.options import add_options
from webapp.launcher.ports import check_can_listen
from webapp.launcher.refusals import CannotStart
from webapp.launcher.supervisor import Stopped, Supervisor, stopping_on_signals
from webapp.launcher.terminal import say


class Command(BaseCommand):
    requires_system_checks = ()  # a second start is up in seconds; ./test runs the checks

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_options(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        data: Path = settings.DATA_DIR
        if options["data"] and options["data"].resolve() != data:  # settings were read before the options
            os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"NIBBLE_DATA": str(options["data"].resolve())})
        machine = Machine(data, host=options["host"], port=options["port"], with_worker=not options["no_worker"])
        if options["sign_in_link"]:
            first_steps.migrate()
            say(sign_in_link(running_address(data) or machine.address))
            return
        with stopping_on_signals(), only_one(data, address=machine.address):
            sys.exit(run(machine, email=options["email"], demo=options["demo"], leave=options["exit"]))


def run(machine: Machine, *, email: str, demo: bool, leave: bool) -> int:
    """Until it is stopped; the exit status. Whatever happens, everything that was started ends."""
    supervisor = Supervisor(machine.data / "logs")
    try:
        check_can_listen(machine.host, machine.port)
        first_steps.check_room(machine.data)
        first_steps.migrate()
        first_steps.first_run(email=email)
        if machine.with_worker:
            first_steps.make_example_model(machine.data)
        environment = machine.bring_up(supervisor)
        status = run_demo(supervisor, environment, link=sign_in_link(machine.address)) if demo else 0
        if leave:
            return status
        greet(machine)
        supervisor.watch(lambda: False)
    except Stopped:
        say()
    except CannotStart as refusal:
        say(f"✗ {refusal.sentence}")
        return 1
    finally:
        if supervisor.kept:
            say("Stopping …")
        supervisor.stop()
    say("Nibble is stopped.")
    return 0


def greet(machine: Machine) -> None:
    say()
    say(f"Nibble is running: {settings.PUBLIC_URL or machine.address}")
    user = first_active_administrator()
    if user is not None and not user.has_usable_password():
        say(f"Sign in, once and within 24 hours, as {user.email}:")
        say(f"  {sign_in_link(machine.address)}")
        say("and set a password there. ./start --sign-in-link makes another link.")
    say("Ctrl-C stops it.")
    say()


def sign_in_link(address: str) -> str:
    """For the first administrator. An older link of theirs ends with it."""
    said = StringIO()
    call_command("sign_in_link", base_url=settings.PUBLIC_URL or address, stdout=said)
    return said.getvalue().strip()
