"""Says how an attempt ended, until the dashboard has heard it or does not want to."""

import logging

from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.waiting import Check, go_on, pause
from worker.contract.orders import Failed, Finish, Order, Succeeded

logger = logging.getLogger(__name__)
LONGEST_PAUSE = 10.0
ERRORS = 10  # a dashboard that answers "internal error" this often will not change its mind


def finish(door: Door, *, attempt_id: int, message: Finish, check: Check = go_on) -> None:
    """A dashboard that is away is waited for; the same Finish twice is answered like once."""
    delay, errors = 0.5, 0
    while True:
        try:
            door.post(f"attempts/{attempt_id}/finish", message, reply=Order)
            return
        except DoorAway as away:
            errors += away.status == 500
            if errors >= ERRORS and not isinstance(message.end, Succeeded):
                logger.error("Attempt %s: the dashboard has an error with its end: %s", attempt_id, away)
                return  # the lease runs out, and the slot is free for others
            if errors >= ERRORS:
                message, errors = _not_taken(message, str(away)), 0
            pause(delay, check)
            delay = min(LONGEST_PAUSE, delay * 2)
        except DoorRefused as refusal:
            if refusal.code == "events_missing":  # the reporter is told where to go on, and does
                pause(delay, check)
                continue
            if refusal.is_not_ours or not isinstance(message.end, Succeeded):
                logger.warning("Attempt %s: the dashboard does not take its end: %s", attempt_id, refusal)
                return
            message = _not_taken(message, str(refusal))


def _not_taken(message: Finish, why: str) -> Finish:
    end = Failed(cause="upload_failed", message=f"The dashboard did not take the adapter: {why}"[:2000], advice="Clone the job.")
    return message.model_copy(update={"end": end})
