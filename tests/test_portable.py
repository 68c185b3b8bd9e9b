"""Nothing but `operating_system.py` calls what only one operating system has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = ROOT / "runtimes/medsdk_runtimes/operating_system.py"
SOURCES = sorted(
    path
    for folder in ("sdk", "runtimes", "export/medsdk_export")
    for path in (ROOT / folder).rglob("*.py")
    if path != ALLOWED
)

MODULES = {
    *("resource", "fcntl", "pwd", "grp", "spwd", "crypt", "termios", "tty", "pty", "syslog"),
    *("posix", "nis", "readline", "curses", "winreg", "msvcrt", "_winapi", "nt", "winsound"),
}
PREFIXES = ("sched_", "posix_", "getuid", "geteuid", "getgid", "getegid", "setuid", "setgid")
NAMES = {
    "os": {
        *("fork", "forkpty", "setsid", "setpgid", "getpgid", "killpg", "wait", "wait3", "wait4"),
        *("waitid", "nice", "getpriority", "setpriority", "uname", "sysconf", "confstr", "mkfifo"),
        *("mknod", "chown", "fchown", "lchown", "fchmod", "chroot", "statvfs", "fstatvfs"),
        *("pathconf", "getloadavg", "pread", "pwrite", "sendfile", "ttyname", "openpty", "umask"),
        *("register_at_fork", "memfd_create", "eventfd", "splice", "copy_file_range", "getxattr"),
        *("setxattr", "listxattr", "fdatasync", "sync", "lockf", "startfile", "O_NOFOLLOW"),
        *("O_DIRECTORY", "O_CLOEXEC", "O_SYNC", "O_DSYNC", "O_NONBLOCK", "O_BINARY", "WIFEXITED"),
        *("WEXITSTATUS", "get_blocking", "add_dll_directory", "O_PATH", "O_TMPFILE", "O_NOATIME"),
    },
    "signal": {"SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "alarm", "pause"},
    "time": {"clock_gettime", "clock_gettime_ns", "pthread_getcpuclockid", "tzset"},
    "ctypes": {"windll", "WinDLL", "wintypes", "oledll"},
    "platform": {"freedesktop_os_release", "win32_ver", "mac_ver", "libc_ver"},
    "sys": {"getwindowsversion", "winver"},
}


def _foreign(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything that is not on every system."""
    for item in ast.walk(tree):
        if isinstance(item, ast.Import):
            names = [(alias.name.split(".")[0], "") for alias in item.names]
        elif isinstance(item, ast.ImportFrom) and not item.level:
            module = (item.module or "").split(".")[0]
            names = [(module, alias.name) for alias in item.names]
        elif isinstance(item, ast.Attribute) and isinstance(item.value, ast.Name):
            names = [(item.value.id, item.attr)]
        else:
            continue
        for module, name in names:
            banned = name in NAMES.get(module, ()) or (module == "os" and name.startswith(PREFIXES))
            imports = not isinstance(item, ast.Attribute)
            found = banned or (imports and module in MODULES)
            if found:
                yield item.lineno, f"{module}.{name}".rstrip(".")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_module_runs_on_every_system(path):
    found = list(_foreign(ast.parse(path.read_text(encoding="utf-8"))))
    assert not found, f"{found}: put it into {ALLOWED.name}"


def test_there_is_something_to_look_at():
    assert len(SOURCES) > 10


@pytest.mark.parametrize(
    "code",
    [
        "import resource",
        "import fcntl as f",
        "from pwd import getpwuid",
        "import os\nos.fork()",
        "from os import O_NOFOLLOW",
        "import os\nos.sched_getaffinity(0)",
        "import os\nos.getuid()",
        "def f():\n    import termios",
        "import ctypes\nctypes.windll.kernel32",
    ],
)
def test_the_test_can_fail(code):
    assert list(_foreign(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["import os\nos.replace('a', 'b')", "from .grp import x", "resource.name", "grp.x"]
)
def test_the_test_can_pass(code):
    assert not list(_foreign(ast.parse(code)))
