"""How much room the data folder has: the one place that asks the file system."""

import shutil
from dataclasses import dataclass

from django.conf import settings

KEEP_FREE_BYTES = 256 * 2**20  # the database needs room to say that the disk is full


@dataclass(frozen=True)
class DiskState:
    free_bytes: int
    total_bytes: int
    least_bytes: int
    """NIBBLE_MIN_FREE_BYTES: with less free, no new job starts."""

    @property
    def is_short(self) -> bool:
        return self.free_bytes < self.least_bytes

    @property
    def is_low(self) -> bool:
        """Time to warn: twice the least is left."""
        return self.free_bytes < 2 * self.least_bytes

    @property
    def used_percent(self) -> float:
        return 100 * (1 - self.free_bytes / self.total_bytes) if self.total_bytes else 0.0

    @property
    def reason(self) -> str:
        """Why no job starts; empty while jobs may."""
        if not self.is_short:
            return ""
        return (
            f"The dashboard's disk has {self.free_bytes / 2**30:.1f} GiB free; jobs start again above "
            f"{self.least_bytes / 2**30:.1f} GiB. An administrator can free space on Settings."
        )


def disk_state() -> DiskState:
    usage = shutil.disk_usage(settings.DATA_DIR)
    return DiskState(free_bytes=usage.free, total_bytes=usage.total, least_bytes=settings.MIN_FREE_BYTES)


def room_for(size: int) -> bool:
    return disk_state().free_bytes >= size + KEEP_FREE_BYTES
