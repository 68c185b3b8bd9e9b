"""The machines and Pythons that a kit is for: how pip and markers see each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

System: TypeAlias = Literal["linux-x86_64", "linux-aarch64", "windows-x86_64"]
Python: TypeAlias = Literal["3.11", "3.12"]

SYSTEMS: tuple[System, ...] = ("linux-x86_64", "linux-aarch64", "windows-x86_64")
PYTHONS: tuple[Python, ...] = ("3.11", "3.12")


@dataclass(frozen=True)
class Target:
    """One machine with one Python.

    Attributes:
        system: Operating system and processor.
        python: CPython's version.
        glibc: (major, minor) of the oldest C library that the wheels must run on; of no
            meaning on Windows.
    """

    system: System
    python: Python
    glibc: tuple[int, int]

    @property
    def name(self) -> str:
        """As `install.py` names the machine that it runs on."""
        return f"{self.system}-{self.abi}"

    @property
    def abi(self) -> str:
        """For instance `cp311`."""
        return "cp" + self.python.replace(".", "")

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags that run there, the newest first (PEP 600 and its older aliases)."""
        if self.system == "windows-x86_64":
            return ("win_amd64",)
        processor = self.system.removeprefix("linux-")
        aliases = {17: "manylinux2014"}
        if processor == "x86_64":
            aliases |= {12: "manylinux2010", 5: "manylinux1"}
        major, newest = self.glibc
        tags: list[str] = []
        for minor in range(newest, 4 if processor == "x86_64" else 16, -1):
            tags.append(f"manylinux_{major}_{minor}_{processor}")
            if minor in aliases:
                tags.append(f"{aliases[minor]}_{processor}")
        return tuple(tags)

    def markers(self, extra: str) -> dict[str, str]:
        """What the markers of PEP 508 are there; pip would take those of this machine.

        Args:
            extra: The extra that is asked for, or an empty string.
        """
        windows = self.system == "windows-x86_64"
        machine = "AMD64" if windows else self.system.removeprefix("linux-")
        return {
            "os_name": "nt" if windows else "posix",
            "sys_platform": "win32" if windows else "linux",
            "platform_system": "Windows" if windows else "Linux",
            "platform_machine": machine,
            "platform_release": "",
            "platform_version": "",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "extra": extra,
        }

    def pip_words(self) -> list[str]:
        """Options with which pip takes wheels for the target, and no sdist."""
        words = ["--only-binary", ":all:", "--no-deps", "--implementation", "cp"]
        words += ["--python-version", self.python, "--abi", self.abi]
        for platform in self.platforms:
            words += ["--platform", platform]
        return words
