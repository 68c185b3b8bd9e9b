"""Runtimes that do their worst, as another package would bring them.

`install` writes a distribution whose entry points name them. Each spoils graphs with a convolution
only, unless it says otherwise, so that a test sees whether the kit goes on.
"""

from __future__ import annotations

from pathlib import Path

SOURCE = """
import atexit, ctypes, os, subprocess, sys, threading, time
from dataclasses import replace
from medsdk_runtimes import RUNTIMES, Availability

SOUND = RUNTIMES[0]


class Hostile:
    def __init__(self, name, spoil):
        self.name, self.spoil = name, spoil

    capabilities = SOUND.capabilities

    def availability(self):
        return SOUND.availability()

    def devices(self):
        return SOUND.devices()

    def open(self, onnx, settings):
        if b"Conv" in onnx:
            self.spoil()
        session = SOUND.open(onnx, settings)
        session.effective = replace(session.effective, runtime=self.name)
        return session


class Unreadable(Exception):
    def __str__(self):
        return "line one\\n\\x1b[31mline two \\ud800 /home/me/secret.onnx"


def raises(error):
    def spoil():
        raise error
    return spoil


def chatter():
    os.write(1, b"garbage" * 100)
    print("more garbage", flush=True)
    sys.__stdout__.write("and more")
    sys.stdin.read()


def hangs_with_a_child():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(os.environ["HOSTILE_PID"], "w") as file:
        file.write(str(child.pid))
    time.sleep(600)


class Undescribed(Hostile):
    def availability(self):
        raise SystemExit(5)


class Absent(Hostile):
    def availability(self):
        return Availability(False, "", "no card in /dev", "third-party")


class EndsBadly(Hostile):
    def open(self, onnx, settings):
        atexit.register(self.spoil)
        return super(EndsBadly, self).open(onnx, settings)


class NeverEnds(Hostile):
    def open(self, onnx, settings):
        threading.Thread(target=time.sleep, args=(600,)).start()
        return super().open(onnx, settings)


class PrintsOnce(Hostile):
    printed = False

    def open(self, onnx, settings):
        if not self.printed:
            self.printed = True
            os.write(1, b"ACME 4.2\\n")
        return super().open(onnx, settings)


class PrintsDevices(Hostile):
    def devices(self):
        print("looking for cards")
        return super().devices()


class PrintsLate(Hostile):
    def open(self, onnx, settings):
        threading.Timer(0.3, os.write, (1, b"goodbye")).start()
        return super().open(onnx, settings)


class PrintsFromC(Hostile):
    def open(self, onnx, settings):
        ctypes.CDLL(None).printf(b"%s", b"from C")
        return super().open(onnx, settings)


class Mute(Hostile):
    def devices(self):
        time.sleep(600)


class HangsAlways(Hostile):
    def open(self, onnx, settings):
        time.sleep(600)


class Excused(Hostile):
    conformance_exceptions = {"conv": "no filters", "threads": "one at a time"}


class NoDevices(Hostile):
    def devices(self):
        raise OSError("no driver")


class Nameless:
    name = "nameless"
    availability = devices = Hostile.devices


sound = Hostile("sound", lambda: None)
aborts = Hostile("aborts", os.abort)
segfaults = Hostile("segfaults", lambda: ctypes.string_at(0))
exits = Hostile("exits", lambda: sys.exit(0))
ends = Hostile("ends", lambda: os._exit(0))
interrupts = Hostile("interrupts", raises(KeyboardInterrupt()))
hangs = Hostile("hangs", hangs_with_a_child)
chatters = Hostile("chatters", chatter)
cuts = Hostile("cuts", lambda: os.closerange(3, 256))
unreadable = Hostile("unreadable", raises(Unreadable()))
undescribed = Undescribed("undescribed", lambda: None)
absent = Absent("absent", lambda: None)
ends_badly = EndsBadly("ends_badly", lambda: os._exit(7))
never_ends = NeverEnds("never_ends", lambda: None)
prints_once = PrintsOnce("prints_once", lambda: None)
prints_devices = PrintsDevices("prints_devices", lambda: None)
prints_late = PrintsLate("prints_late", lambda: None)
prints_from_c = PrintsFromC("prints_from_c", lambda: None)
excused = Excused("excused", raises(OSError("no filters here")))
no_devices = NoDevices("no_devices", lambda: None)
other_name = Hostile("another name", lambda: None)
nameless = Nameless()
the_class = Hostile
mute = Mute("mute", lambda: None)
hangs_always = HangsAlways("hangs_always", lambda: None)
"""

RUNTIMES = (
    *("sound", "aborts", "segfaults", "exits", "ends", "interrupts", "hangs", "chatters", "cuts"),
    *("unreadable", "undescribed", "absent", "ends_badly", "never_ends", "mute", "hangs_always"),
    *("excused", "no_devices"),
    *("prints_once", "prints_devices", "prints_late", "prints_from_c"),
)

NO_RUNTIMES = {
    "the_class": "its entry names the class Hostile, expected an object",
    "nameless": "a Nameless without open",
    "other_name": "its name is 'another name', and its entry is called 'other_name'",
}
"""Entries that give something else than a runtime of that name, and what is said of it."""

UNLOADABLE = {
    "import_raises": "raise RuntimeError('no licence in /etc')",
    "import_exits": "import sys; sys.exit(0)",
    "import_aborts": "import os; os.abort()",
    "import_nothing": "",
}
"""Modules that are no good to import."""

MODULES = {
    "prints_imported": "import hostile_runtimes\nprint('hello')\n"
    "RUNTIME = hostile_runtimes.Hostile('prints_imported', lambda: None)",
}
"""Modules with a runtime of their own."""


def install(folder: Path) -> None:
    """Write the distribution into a folder of the import path."""
    (folder / "hostile_runtimes.py").write_text(SOURCE, encoding="utf-8")
    lines = [f"{name} = hostile_runtimes:{name}" for name in (*RUNTIMES, *NO_RUNTIMES)]
    for name, text in {**UNLOADABLE, **MODULES}.items():
        (folder / f"{name}.py").write_text(text + "\n", encoding="utf-8")
        lines.append(f"{name} = {name}:RUNTIME")
    information = folder / "hostile_runtimes-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: hostile-runtimes\nVersion: 1.0\n", "utf-8")
    entries = "\n".join(["[medsdk.runtimes]", *lines, ""])
    (information / "entry_points.txt").write_text(entries, "utf-8")
