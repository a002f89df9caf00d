"""Looks at base models for the catalogue, one after the other, beside the heartbeat."""

import logging
import queue
import threading
from pathlib import Path

from worker.agent.children import Spawned, end_marked
from worker.agent.inspect_model import inspect_model
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.log_lines import LogSink
from worker.agent.tokenizer_files import Send
from worker.contract.model_shape import ModelReport
from worker.contract.orders import InspectModel
from worker.contract.tokenizer_files import TokenizerFile

logger = logging.getLogger(__name__)


class Inspector(threading.Thread):
    def __init__(self, data: Path, *, url: str, token: str) -> None:
        super().__init__(name="inspector", daemon=True)
        self._data, self._url, self._token, self._mark = data, url, token, f"{data}#models"
        self._asked: queue.SimpleQueue[InspectModel] = queue.SimpleQueue()
        self._waiting: set[int] = set()

    def look_at(self, asked: InspectModel) -> None:
        """A model is named with every heartbeat until somebody has reported: once in the queue is enough."""
        if asked.model_id not in self._waiting:
            self._waiting.add(asked.model_id)
            self._asked.put(asked)

    def stop(self) -> None:
        end_marked(self._mark)

    def run(self) -> None:
        with Door(self._url, self._token) as door:
            while True:
                asked = self._asked.get()
                try:
                    report = inspect_model(asked, data=self._data, run=self._run, send=_sender(door, asked))
                    door.post(f"models/{asked.model_id}/report", report, reply=ModelReport)
                except (DoorAway, DoorRefused) as error:
                    logger.debug("Report on model %s: %s", asked.model_id, error)
                finally:
                    self._waiting.discard(asked.model_id)

    def _run(self, command: list[str], environment: dict[str, str]) -> int:
        child = Spawned(command, folder=self._data, environment=environment, mark=self._mark, log=LogSink(_say))
        try:
            while (code := child.exit_code(within=1)) is None:
                pass
            return code
        finally:
            child.close()


def _sender(door: Door, asked: InspectModel) -> Send:
    def send(path: Path, file: TokenizerFile) -> None:
        door.put_file(f"models/{asked.model_id}/tokenizer/{file.name}", path, query={"sha256": file.sha256})

    return send


def _say(text: str, _level: str) -> None:
    logger.info("%s", text)
