"""What only the operating system knows: the one module with platform-specific calls.

Linux and Windows are supported; elsewhere a value that cannot be read is 0 or empty.
Nothing here returns a host name, a user name or a path.
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
import sys
from pathlib import Path

if sys.platform == "win32":
    import winreg
    from ctypes import wintypes

    class _MemoryStatus(ctypes.Structure):
        """MEMORYSTATUSEX of sysinfoapi.h."""

        _fields_ = (
            ("length", wintypes.DWORD),
            ("load_percent", wintypes.DWORD),
            ("total_physical", ctypes.c_uint64),
            ("available_physical", ctypes.c_uint64),
            ("total_page_file", ctypes.c_uint64),
            ("available_page_file", ctypes.c_uint64),
            ("total_virtual", ctypes.c_uint64),
            ("available_virtual", ctypes.c_uint64),
            ("available_extended_virtual", ctypes.c_uint64),
        )

    class _ProcessMemory(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS of psapi.h."""

        _fields_ = (
            ("size", wintypes.DWORD),
            ("page_faults", wintypes.DWORD),
            ("peak_working_set", ctypes.c_size_t),
            ("working_set", ctypes.c_size_t),
            ("quota_peak_paged_pool", ctypes.c_size_t),
            ("quota_paged_pool", ctypes.c_size_t),
            ("quota_peak_non_paged_pool", ctypes.c_size_t),
            ("quota_non_paged_pool", ctypes.c_size_t),
            ("page_file", ctypes.c_size_t),
            ("peak_page_file", ctypes.c_size_t),
        )

    # PF_* of winnt.h. Windows reports no flag for VNNI or AMX.
    _PROCESSOR_FEATURES = {40: "avx2", 41: "avx512f", 19: "asimd", 43: "asimddp"}


_CPU_INFO = Path("/proc/cpuinfo")
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_PROCESS_STATUS = Path("/proc/self/status")
_PROCESS_FILES = Path("/proc/self/fd")
_PROCESS_THREADS = Path("/proc/self/task")
_MEMORY_INFO = Path("/proc/meminfo")


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and a container's CPU quota rounded up.

    Returns:
        At least 1.
    """
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
        quota, _, period = _text(_CGROUP_QUOTA).partition(" ")
        if quota.isdigit() and period.strip().isdigit():
            cores = min(cores, -(-int(quota) // int(period)))
    else:
        cores = os.cpu_count() or 1
    return max(cores, 1)


def memory_current_bytes() -> int:
    """Resident memory of this process now, in bytes; 0 where it cannot be read."""
    if sys.platform == "win32":
        return int(_process_memory().working_set)
    return _kilobytes(_PROCESS_STATUS, "VmRSS")


def release_free_memory() -> None:
    """Give what was freed back to the system, so that `memory_current_bytes` holds no slack.

    Does nothing where the C library cannot (it is glibc that can).
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def memory_peak_bytes() -> int:
    """Largest resident memory this process has had, in bytes; 0 where it cannot be read."""
    if sys.platform == "win32":
        return int(_process_memory().peak_working_set)
    peak = _kilobytes(_PROCESS_STATUS, "VmHWM")
    if peak:
        return peak
    # Sandboxes whose /proc lacks VmHWM, and macOS (where the unit is bytes, not KiB).
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def memory_total_bytes() -> int:
    """Physical memory of this machine, in bytes; 0 where it cannot be read."""
    if sys.platform == "win32":
        memory = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(memory)):
            return 0
        return int(memory.total_physical)
    return _kilobytes(_MEMORY_INFO, "MemTotal")


def open_handles() -> int:
    """Files, sockets and the like that this process has open; 0 where it cannot be read."""
    if sys.platform == "win32":
        count = wintypes.DWORD()
        kernel = ctypes.windll.kernel32
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.GetProcessHandleCount(
            wintypes.HANDLE(kernel.GetCurrentProcess()), ctypes.byref(count)
        )
        return int(count.value)
    return _entries(_PROCESS_FILES)


def native_threads() -> int:
    """Threads of this process, those of libraries included; 0 where it cannot be read."""
    return _entries(_PROCESS_THREADS)


def limit_new_memory(beyond_bytes: int | None) -> None:
    """Let this process take at most so much more memory; an allocation beyond it fails.

    Does nothing where the system has no such limit.

    Args:
        beyond_bytes: More than what it holds now; None lifts the limit.
    """
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard
    taken = _kilobytes(_PROCESS_STATUS, "VmData")  # what RLIMIT_DATA counts
    if beyond_bytes is not None and taken:
        soft = taken + beyond_bytes
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def cpu_model() -> str:
    """Name of the processor as it gives it itself; empty where it cannot be read."""
    if sys.platform == "win32":
        key = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as entry:
                return str(winreg.QueryValueEx(entry, "ProcessorNameString")[0]).strip()
        except OSError:
            return ""
    info = _cpu_info()
    if "model name" in info:
        return info["model name"]
    # Arm kernels give numbers instead of a name.
    numbers = [info[key] for key in ("CPU implementer", "CPU part", "CPU variant") if key in info]
    return f"Arm {' '.join(numbers)}" if numbers else ""


def cpu_flags() -> frozenset[str]:
    """Instruction-set flags of the processor, named as Linux names them (`avx512_vnni`).

    On Windows only `avx2`, `avx512f`, `asimd` and `asimddp` are known. Empty where the flags
    cannot be read.
    """
    if sys.platform == "win32":
        present = ctypes.windll.kernel32.IsProcessorFeaturePresent
        return frozenset(name for number, name in _PROCESSOR_FEATURES.items() if present(number))
    info = _cpu_info()
    return frozenset((info.get("flags") or info.get("Features") or "").split())


def system_version() -> str:
    """Distribution and its version on Linux, the build on Windows, e.g. `debian 12`.

    The kernel's patch level is left out: it changes without a change of what is computed.
    """
    if sys.platform == "linux":
        try:
            release = platform.freedesktop_os_release()
        except OSError:
            return ""
        return f"{release.get('ID', '')} {release.get('VERSION_ID', '')}".strip()
    return platform.version()


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable; does nothing on Windows, which cannot.

    Args:
        path: An existing directory.

    Raises:
        OSError: The directory cannot be opened or synchronised.
    """
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_link(path: Path) -> bool:
    """Whether `path` is a symbolic link or, on Windows, a junction; False where nothing is there.

    The last part of the path is not followed, the parts before it are.
    """
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return False
    if stat.S_ISLNK(status.st_mode):
        return True
    if sys.platform == "win32":
        return status.st_reparse_tag == stat.IO_REPARSE_TAG_MOUNT_POINT
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _entries(folder: Path) -> int:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return 0


def _cpu_info() -> dict[str, str]:
    """The first processor's entries of /proc/cpuinfo."""
    first = _text(_CPU_INFO).partition("\n\n")[0]
    entries = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in entries}


def _kilobytes(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return 0


if sys.platform == "win32":

    def _process_memory() -> _ProcessMemory:
        counters = _ProcessMemory(size=ctypes.sizeof(_ProcessMemory))
        kernel = ctypes.windll.kernel32
        # Without a type the pseudo-handle is cut to 32 bits.
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.K32GetProcessMemoryInfo.argtypes = (
            wintypes.HANDLE,
            ctypes.POINTER(_ProcessMemory),
            wintypes.DWORD,
        )
        kernel.K32GetProcessMemoryInfo(
            kernel.GetCurrentProcess(), ctypes.byref(counters), counters.size
        )
        return counters
