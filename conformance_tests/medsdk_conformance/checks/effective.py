"""What was asked is what runs, or an error."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from medsdk_conformance.cases import CASES
from medsdk_conformance.check import Check, Subject, counted, equal, raises, require
from medsdk_conformance.graphs import affine, product
from medsdk_runtimes import Effective, Precision, Settings
from medsdk_runtimes.errors import (
    DeviceUnavailableError,
    GraphRefusedError,
    PrecisionMismatchError,
    SettingRefusedError,
)

_SQUARE = np.eye(8, dtype=np.float32)


def _says_what_it_uses(subject: Subject) -> None:
    here = subject.runtime.availability()
    with closing(subject.open(product(_SQUARE))) as session:
        used = session.effective
        require(isinstance(used, Effective), f"effective is a {type(used).__name__}")
        require(used.runtime == subject.runtime.name, f"another runtime: {used.runtime}")
        require(bool(here.version) and used.version == here.version, f"version {used.version!r}")
        require(used.device == subject.device, f"device {used.device}, asked {subject.device}")
        require(used.precision == "fp32", f"another precision: {used.precision}")
        require(used.threads == 1, f"{used.threads} threads where 1 was asked")
        require(bool(used.evidence), "no evidence for the precision")


def _uses_every_device(subject: Subject) -> None:
    for device in subject.runtime.devices():
        with closing(subject.open(device=device.name)) as session:
            used = session.effective.device
            require(used == device.name, f"{device.name} asked, {used} runs")
            equal(session.run({"x": counted()})["y"], 2 * counted() + 1)


def _uses_the_threads(subject: Subject) -> None:
    for threads in (1, 2, 64):
        try:
            session = subject.open(threads=threads)
        except SettingRefusedError:
            require(threads > 1, "one thread is refused")
        else:
            with closing(session):
                found = session.effective.threads
                require(found == threads, f"{found} threads where {threads} were asked")


def _refuses_settings(subject: Subject) -> None:
    for settings in ({"threads": 0}, {"threads": -1}, {"precision": "fp8"}):
        with raises(SettingRefusedError):
            subject.open(**settings)
    if "optimise-off" not in subject.capabilities:
        with raises(SettingRefusedError):
            subject.open(optimise=False)


def _keeps_the_precision(subject: Subject) -> None:
    sixteen: tuple[Precision, ...] = ("fp16", "bf16")
    for asked in sixteen:
        try:
            session = subject.open(product(_SQUARE), precision=asked)
        except (SettingRefusedError, PrecisionMismatchError):
            continue
        with closing(session):
            found = session.effective.precision
            require(found == asked, f"{asked} asked, {found} runs")
    with raises(PrecisionMismatchError, SettingRefusedError):
        subject.open(product(_SQUARE), precision="int8")
    if "int8" not in subject.capabilities:
        onnx = _problem("quantized-conv-symmetric")
        with raises(PrecisionMismatchError, SettingRefusedError, GraphRefusedError):
            subject.open(onnx, precision="int8")


def _quantized_is_quantized(subject: Subject) -> None:
    _counts_integers(subject, "quantized-conv-symmetric")


def _asymmetric_is_quantized(subject: Subject) -> None:
    _counts_integers(subject, "quantized-conv")


def _counts_integers(subject: Subject, case_id: str) -> None:
    onnx = _problem(case_id)
    with closing(subject.open(onnx, precision="int8")) as session:
        found = session.effective.precision
        require(found == "int8", f"int8 asked, {found} runs")
        require(bool(session.effective.operators), "no count of executed operators")
    with raises(PrecisionMismatchError):
        subject.open(onnx, precision="fp32")


def _problem(case_id: str) -> bytes:
    return next(case for case in CASES if case.id == case_id).build().onnx


def _absent_device(subject: Subject) -> None:
    names = [device.name for device in subject.runtime.devices()]
    for absent in ("CUDA:97", "cpu ", ""):
        with raises(DeviceUnavailableError) as caught:
            subject.runtime.open(affine(), Settings(device=absent))
        for name in names:
            require(name in str(caught[0]), f"the error does not name {name}")


def _optimise_off(subject: Subject) -> None:
    with closing(subject.open(optimise=False)) as session:
        equal(session.run({"x": counted()})["y"], 2 * counted() + 1)


CHECKS: tuple[Check, ...] = (
    Check(
        "effective",
        None,
        "effective says runtime, version, device, precision and threads as asked, with evidence.",
        _says_what_it_uses,
    ),
    Check(
        "device-used",
        None,
        "Every device that is listed opens, and is the one that runs.",
        _uses_every_device,
    ),
    Check(
        "device-absent",
        None,
        "A device that is not here is refused, and the error names those that are.",
        _absent_device,
    ),
    Check(
        "effective-threads", None, "1, 2 and 64 threads: as asked, or refused.", _uses_the_threads
    ),
    Check(
        "settings-refused",
        None,
        "No thread, an unknown precision, and optimise=False where not declared, are refused.",
        _refuses_settings,
    ),
    Check(
        "precision-kept",
        None,
        "16 bits run as asked or are refused; so is int8 of a float graph or where not declared.",
        _keeps_the_precision,
    ),
    Check(
        "int8-is-int8",
        "int8",
        "A symmetric graph runs in 8 bits, counted; as fp32 it is refused.",
        _quantized_is_quantized,
    ),
    Check(
        "int8-asymmetric-is-int8",
        "int8-asymmetric",
        "A graph with zero points runs in 8 bits, counted; as fp32 it is refused.",
        _asymmetric_is_quantized,
    ),
    Check(
        "optimise-off",
        "optimise-off",
        "A graph opens with optimise=False.",
        _optimise_off,
    ),
)
"""Every rule about settings."""
