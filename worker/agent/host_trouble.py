"""Signs that the machine, not the job, ended a trainer: the kernel's OOM killer, and NVIDIA's words about a GPU that failed."""

import re
from pathlib import Path

# Of NVIDIA's Xid numbers those that are the node's: memory errors, NVLink, a GPU that left the bus, its own processor.
# 13, 31, 43 and 45 are a program's own faults.
XIDS = "48|63|64|74|79|92|94|95|110|119|120|140"
TROUBLE = re.compile(
    rf"\bXid\b(?: \([^)]*\))?:? (?:{XIDS})\b|fallen off the bus|uncorrectable ECC error|\bGPU is lost\b|"
    r"Unable to determine the device handle for GPU|CUDA driver initialization failed|NVML: Unknown Error",
    re.IGNORECASE,
)
VMSTAT = Path("/proc/vmstat")
OWN_CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


class TroubleInLog:
    """Looks at every line that a process prints, also at those that the log drops."""

    def __init__(self) -> None:
        self.line = ""

    def look(self, text: str) -> None:
        if not self.line and TROUBLE.search(text):
            self.line = text[:300]


def oom_kills() -> dict[str, int]:
    """How often the kernel killed for want of memory, by the file that counts it: this container, and the whole machine."""
    counts = {str(path): _count(path) for path in (*_cgroup_files(), VMSTAT)}
    return {name: count for name, count in counts.items() if count is not None}


def rose(before: dict[str, int]) -> bool:
    return any(count > before.get(name, count) for name, count in oom_kills().items())


def _cgroup_files() -> list[Path]:
    """Version 2 counts in memory.events, version 1 in memory.oom_control; a container may see its own as the root."""
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found += [CGROUPS / path.lstrip("/") / "memory.events", CGROUPS / "memory.events"]
        elif "memory" in controllers.split(","):
            found += [CGROUPS / "memory" / path.lstrip("/") / "memory.oom_control", CGROUPS / "memory" / "memory.oom_control"]
    return found


def _count(path: Path) -> int | None:
    try:
        found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) if found else None
