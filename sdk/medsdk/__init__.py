"""medsdk takes a trained network to a scanner and proves there that it is still the same.

    import medsdk

    engine = medsdk.load("uterus-mr-tumor-filter")
    finding = engine.predict("slice.dcm")
    print(finding.label, finding.probability, finding.provenance)

Importing the package loads no runtime and no framework; each name below is loaded when it
is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from medsdk._version import __version__

if TYPE_CHECKING:
    from medsdk import errors
    from medsdk.bundle.packing import pack, unpack
    from medsdk.bundle.reading import Bundle
    from medsdk.engine import Engine, load
    from medsdk.pixels import Box, Frame
    from medsdk.plan.candidate import Plan
    from medsdk.results.finding import Finding
    from medsdk_runtimes.errors import MedsdkError

__all__ = [
    "Box",
    "Bundle",
    "Engine",
    "Finding",
    "Frame",
    "MedsdkError",
    "Plan",
    "__version__",
    "errors",
    "load",
    "pack",
    "unpack",
]

_WHERE = {
    "Box": "medsdk.pixels",
    "Bundle": "medsdk.bundle.reading",
    "Engine": "medsdk.engine",
    "Finding": "medsdk.results.finding",
    "Frame": "medsdk.pixels",
    "MedsdkError": "medsdk_runtimes.errors",
    "Plan": "medsdk.plan.candidate",
    "load": "medsdk.engine",
    "pack": "medsdk.bundle.packing",
    "unpack": "medsdk.bundle.packing",
}


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module("medsdk.errors")
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'medsdk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
