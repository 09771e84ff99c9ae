"""What a run says of its machine, and what the machine says of a process: memory, disk, page cache."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import sys
import time
from typing import Any

_DROP = "/proc/sys/vm/drop_caches"
_OWN = "/proc/self"


def facts() -> dict[str, Any]:
    """Say where figures come from."""
    from subregion.io.threads import processors

    return {
        "processors": processors(),
        "processor": _processor(),
        "memory, GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8") as file:
        return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    return platform.processor() or platform.machine()


def peak_mb() -> float:
    """Return the peak resident memory of this process in megabytes, since it began or `forget_peak`."""
    with contextlib.suppress(OSError), open(f"{_OWN}/status", encoding="ascii") as status:
        # Unlike ru_maxrss, this does not begin with the peak of the process that started this one.
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def forget_peak() -> None:
    """Begin anew with the peak of resident memory, where the system can."""
    with contextlib.suppress(OSError), open(f"{_OWN}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def disk_bytes() -> int:
    """Return how many bytes this process has made the system read from a disk; 0 where it does not say."""
    with contextlib.suppress(OSError), open(f"{_OWN}/io", encoding="ascii") as counters:
        return next(int(line.split()[1]) for line in counters if line.startswith("read_bytes"))
    return 0


def why_not_cold() -> str | None:
    """Return why the page cache cannot be emptied here; None if it can."""
    if not os.path.exists(_DROP):
        return "the page cache can be emptied on Linux only"
    if not os.access(_DROP, os.W_OK):
        return "emptying the page cache takes root"
    return None


def empty_page_cache() -> None:
    """Make the system forget the contents of all files: the next read of any comes from its disk."""
    os.sync()
    with open(_DROP, "w", encoding="ascii") as file:
        file.write("3")
