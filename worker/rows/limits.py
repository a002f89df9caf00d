"""Bounds for the process that reads users' files: it may fail, it may not take the machine with it."""

import resource

MEMORY_BYTES = 3 * 1024**3  # address space: Arrow reserves much more than it uses
CPU_SECONDS = 3600  # room for 20 GB at 10 MB/s
FILE_BYTES = 40 * 1024**3  # a rows file is smaller than its sources; twice the largest upload is for what nobody foresaw


def limit_this_process() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
