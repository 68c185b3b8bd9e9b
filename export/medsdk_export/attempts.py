"""The graphs that may become variants, and the machines that execute them at export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

import medsdk_runtimes
from medsdk.pipeline import run_image
from medsdk.tasks.gates import Form
from medsdk.tasks.schema import InputTensor
from medsdk_export.quantize import CalibrationRecord, quantize_form_a, quantize_form_b
from medsdk_runtimes.contract import Array, Precision, Session, Settings
from medsdk_runtimes.isa_tier import Tier, lower_tiers, open_at_tier
from medsdk_runtimes.symmetric_int8 import faults_of

REFERENCE_RUNTIME = "onnxruntime"
"""Runs every graph unoptimised, for what an INT8 variant is expected to give."""


@dataclass(frozen=True)
class Attempt:
    """A graph that may become a variant; of two attempts at one variant the better is kept.

    Attributes:
        variant: Id of the variant.
        title: What distinguishes it, for the record.
        onnx: The graph.
        form: How it is quantized.
        bits: Width of the quantized values.
        precision: What it must run in.
        facts: How it was made.
        faults: Why its device would not take it; such a graph is not run.
    """

    variant: str
    title: str
    onnx: bytes
    form: Form
    bits: int
    precision: Precision
    facts: Mapping[str, str | int | float | bool]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Executor:
    """A runtime on an instruction-set tier of this machine.

    Attributes:
        runtime: Its name.
        version: Version of its library.
        isa: `native`, or the limit that was set.
    """

    runtime: str
    version: str
    isa: str

    def __str__(self) -> str:
        return self.runtime if self.isa == "native" else f"{self.runtime} limited to {self.isa}"


@dataclass(frozen=True)
class Observation:
    """What every attempt gave for one image.

    Attributes:
        reference: The source framework's outputs in FP32.
        expected: For each quantized attempt's title, its graph's outputs, unoptimised.
        outputs: For each attempt's title and executor, the outputs.
    """

    reference: Mapping[str, NDArray[np.float32]]
    expected: Mapping[str, Mapping[str, Array]]
    outputs: Mapping[str, Mapping[Executor, Mapping[str, Array]]]


ATTEMPTS: Mapping[Form, int] = {"float": 1, "cpu": 2, "gpu": 1}
"""So many graphs of each form `make_attempts` makes; declared before anything is measured."""

Observe = Callable[[NDArray[np.float32]], Observation]


def make_attempts(model: onnx.ModelProto, record: CalibrationRecord) -> list[Attempt]:
    """FP32; INT8 in form A with eight-bit and with seven-bit weights, and in form B.

    Seven bits cost resolution and buy sums that cannot saturate on AVX2; which is better
    shows in the parity cases. A GPU's sums do not saturate.

    Args:
        model: The prepared float32 graph.
        record: Its calibration record.

    Returns:
        The attempts, preferred ones first.
    """
    attempts = [Attempt("fp32", "fp32", model.SerializeToString(), "float", 32, "fp32", {})]
    for seven in (False, True):
        graph = quantize_form_a(model, record, seven_bit_weights=seven)
        weights = 7 if seven else 8
        facts = _facts(graph, record, "onnxruntime static QDQ", "uint8 asymmetric", weights)
        title = f"int8-cpu with {weights}-bit weights"
        attempts.append(
            Attempt("int8-cpu", title, graph.SerializeToString(), "cpu", 8, "int8", facts)
        )
    graph = quantize_form_b(model, record)
    facts = _facts(graph, record, "QDQ before layers and on residuals", "int8 symmetric", 8)
    data = graph.SerializeToString()
    faults = tuple(map(str, faults_of(data)))
    attempts.append(Attempt("int8-gpu", "int8-gpu", data, "gpu", 8, "int8", facts, faults))
    return attempts


def _facts(
    graph: onnx.ModelProto,
    record: CalibrationRecord,
    method: str,
    activations: str,
    weight_bits: int,
) -> dict[str, str | int | float | bool]:
    return {
        "method": method,
        "calibration": "min-max over all samples",
        "calibration_samples": record.samples,
        "activations": activations,
        "weights": "int8 symmetric per channel",
        "weight_bits": weight_bits,
        "quantize_linear_nodes": sum(node.op_type == "QuantizeLinear" for node in graph.graph.node),
    }


@contextmanager
def opened(
    attempts: list[Attempt],
    inlet: InputTensor,
    reference: Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]],
    threads: int,
) -> Iterator[tuple[Observe, dict[str, list[tuple[Executor, str]]]]]:
    """Open every attempt on every runtime and tier of this machine.

    Args:
        attempts: The graphs.
        inlet: Their input.
        reference: Runs the source framework.
        threads: Worker threads of each session.

    Yields:
        A function that runs one preprocessed tensor through all of them; and for each
        attempt's title the executors that refused it, with the reason.
    """
    from medsdk_runtimes.errors import MedsdkError

    refused: dict[str, list[tuple[Executor, str]]] = {attempt.title: [] for attempt in attempts}
    sessions: dict[str, dict[Executor, Session]] = {attempt.title: {} for attempt in attempts}
    plain: dict[str, Session] = {}
    with ExitStack() as stack:
        for attempt in attempts:
            if attempt.faults:
                continue
            settings = Settings(threads=threads, precision=attempt.precision)
            for runtime in medsdk_runtimes.available():
                version = runtime.availability().version
                tiers: tuple[Literal["native"] | Tier, ...] = ("native",)
                if attempt.form != "gpu":  # which no CPU serves, whatever its instruction set
                    tiers += lower_tiers(runtime.name)
                for isa in tiers:
                    executor = Executor(runtime.name, version, isa)
                    try:
                        session = (
                            runtime.open(attempt.onnx, settings)
                            if isa == "native"
                            else open_at_tier(runtime.name, attempt.onnx, settings, isa)
                        )
                    except MedsdkError as error:
                        refused[attempt.title].append((executor, str(error)))
                        continue
                    stack.callback(session.close)
                    sessions[attempt.title][executor] = session
            if attempt.form == "float":
                continue  # held to the source framework
            unoptimised = Settings(threads=1, precision=attempt.precision, optimise=False)
            session = medsdk_runtimes.runtime(REFERENCE_RUNTIME).open(attempt.onnx, unoptimised)
            stack.callback(session.close)
            plain[attempt.title] = session

        def run(session: Session, tensor: NDArray[np.float32]) -> Mapping[str, Array]:
            return run_image(session, inlet.name, inlet.batch, tensor)

        def observe(tensor: NDArray[np.float32]) -> Observation:
            outputs: dict[str, dict[Executor, Mapping[str, Array]]] = {}
            for title, group in sessions.items():
                outputs[title] = {}
                for executor, session in list(group.items()):
                    try:
                        outputs[title][executor] = run(session, tensor)
                    except MedsdkError as error:
                        # It failed once, so it is no target; the others go on without it.
                        refused[title].append((executor, str(error)))
                        del group[executor]
            return Observation(
                reference=reference(tensor),
                expected={title: run(session, tensor) for title, session in plain.items()},
                outputs=outputs,
            )

        yield observe, refused
