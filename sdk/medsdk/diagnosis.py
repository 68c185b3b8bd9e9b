"""What a machine has, found by running it."""

from __future__ import annotations

import base64
import dataclasses

import numpy as np

import medsdk_runtimes
from medsdk._version import __version__
from medsdk.pixels import kernels
from medsdk.results.documents import DeviceDocument, DoctorDocument, RuntimeDocument
from medsdk_runtimes.contract import Runtime, Settings
from medsdk_runtimes.errors import MedsdkError
from medsdk_runtimes.machine import Machine, identify
from medsdk_runtimes.threads import ThreadBudget

PROBE_GRAPH = base64.b64decode(
    "CAoSADo7Cg4KAXgKAXgSAXkiA0FkZBIFcHJvYmVaEAoBeBILCgkIARIFCgMSAW5iEAoBeRILCgkIARIFCgMS"
    "AW5CBAoAEBQ="
)
"""`y = x + x`, float32, one dynamic axis: `tests/sdk/test_diagnosis.py` makes it again with
the onnx package and compares the two."""


def diagnose() -> DoctorDocument:
    """Look at the machine, run a small graph on every runtime, and list what is missing."""
    machine = identify()
    runtimes = tuple(_try(runtime) for runtime in medsdk_runtimes.known())
    problems = []
    if not any(item.computed == "pass" for item in runtimes):
        problems.append('no runtime works here: pip install "medsdk[onnxruntime]"')
    problems += [
        f"{item.name} is installed but does not compute: {item.computed}"
        for item in runtimes
        if item.available and item.computed != "pass"
    ]
    return DoctorDocument(
        medsdk=__version__,
        machine=machine_facts(machine),
        machine_sha256=machine.digest,
        thread_budget=ThreadBudget.process().total,
        runtimes=runtimes,
        resize_kernels={name: kernels.implementation(name) for name in kernels.KERNELS},
        problems=tuple(problems),
    )


def machine_facts(machine: Machine) -> dict[str, str | int | float | dict[str, str]]:
    """The machine's identity as plain data; no host name, no user, no path."""
    return {**dataclasses.asdict(machine), "libraries": dict(machine.libraries)}


def _try(runtime: Runtime) -> RuntimeDocument:
    here = runtime.availability()
    devices: tuple[DeviceDocument, ...] = ()
    computed = ""
    if here.available:
        try:
            devices = tuple(
                DeviceDocument(name=item.name, description=item.description)
                for item in runtime.devices()
            )
            computed = _compute(runtime)
        except MedsdkError as error:
            computed = str(error)
        # A third party's runtime may raise anything, whose text may hold anything.
        except Exception as error:  # noqa: BLE001
            computed = f"raised {type(error).__name__}"
    return RuntimeDocument(
        name=runtime.name,
        available=here.available,
        version=here.version,
        reason=here.reason or ("" if here.available else f'pip install "medsdk[{here.extra}]"'),
        extra=here.extra,
        devices=devices,
        computed=computed,
    )


def _compute(runtime: Runtime) -> str:
    session = runtime.open(PROBE_GRAPH, Settings(threads=1))
    given = np.arange(4, dtype=np.float32)
    try:
        result = session.run({"x": given})["y"]
    finally:
        session.close()
    return "pass" if np.array_equal(result, given + given) else f"wrong: {result.tolist()}"
