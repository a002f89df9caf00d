"""Bounds for the process that talks to strangers: it may fail, it may not take the machine with it."""

import resource

MEMORY_BYTES = 1024**3  # 90 MB are in use; a Hub listing of 64 MiB takes some hundred
ROOM_FOR_REPORTS = 2**20


def limit_this_process(*, limit_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    largest = limit_bytes + ROOM_FOR_REPORTS
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
