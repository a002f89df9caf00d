"""Bounds for the process that reads users' files: it may fail, it may not take the machine with it."""

import resource

MEMORY_BYTES = 1024**3  # 60 MB are in use with 4 MiB lines; the rest is for what nobody foresaw
CPU_SECONDS = 600  # about 40 MB/s: room for 20 GB
REPORT_BYTES = 64 * 1024**2


def limit_this_process() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (REPORT_BYTES, REPORT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
