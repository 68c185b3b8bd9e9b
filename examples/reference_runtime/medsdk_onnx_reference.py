"""The reference evaluator of the package onnx as a runtime of medsdk.

It computes with numpy, one operator after the other. That is slow, and the shortest way to see
what a runtime needs: an object with a few members, and a session with two methods.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from medsdk_runtimes import (
    CAPABILITIES,
    Array,
    Availability,
    Capability,
    Device,
    Effective,
    Session,
    Settings,
    admit,
    library_words,
)
from medsdk_runtimes.errors import (
    GraphRefusedError,
    InferenceFailedError,
    PrecisionMismatchError,
    SettingRefusedError,
)
from medsdk_runtimes.graph import GraphFacts

NAME: Final = "onnx-reference"
# Seen in 1.21.0, 1.22.0, 1.23.0 and 1.23.2; whether a later one has it has to be looked at.
_POOLS_WITH_OTHER_PADS: Final = (["1", "21"], ["1", "22"], ["1", "23"])
_FLOATS: Final = frozenset({"float16", "bfloat16", "float64"})


class OnnxReference:
    """The runtime `onnx-reference`; see `medsdk_runtimes.contract.Runtime`."""

    @property
    def name(self) -> str:
        """As the entry point has it."""
        return NAME

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything but the execution of quantized graphs in 8 bits."""
        return frozenset(CAPABILITIES) - {"int8", "int8-asymmetric", "int8-full-range"}

    @property
    def conformance_exceptions(self) -> Mapping[str, str]:
        """What is known not to be kept by the onnx that is here, and why.

        An exception is for the versions that have the fault: one that is mended must pass.
        """
        if self.availability().version.split(".")[:2] not in _POOLS_WITH_OTHER_PADS:
            return {}
        return {
            "max-pool-stride-1": "onnx's evaluator takes the pads of MaxPool in another order than "
            "the standard (begin, begin, end, end)"
        }

    def availability(self) -> Availability:
        """Whether onnx imports; never raises."""
        try:
            import onnx
        # Whatever goes wrong inside a foreign import is the reason why it is not available.
        except Exception as error:  # noqa: BLE001
            return Availability(False, "", library_words(error), NAME)
        return Availability(True, onnx.__version__, "", NAME)

    def devices(self) -> tuple[Device, ...]:
        """The processor."""
        return (Device("CPU", "numpy"),)

    def open(self, onnx: bytes, settings: Settings) -> Session:
        """Open a graph; see `Runtime.open`."""
        # Device, threads, precision, external data, foreign operators: what all runtimes check.
        facts = admit(NAME, onnx, settings, self.devices)
        if settings.threads > 1:
            raise SettingRefusedError(
                "the reference evaluator runs on one thread",
                got=f"{settings.threads} threads",
                expected="1",
            )
        if settings.precision != "fp32":
            kind = PrecisionMismatchError if settings.precision == "int8" else SettingRefusedError
            raise kind(
                "the reference evaluator computes in float32 only",
                got=settings.precision,
                expected="fp32",
            )
        other = sorted(_FLOATS & facts.tensor_types)
        if other:
            raise GraphRefusedError(
                "the graph has other floats than float32",
                got=", ".join(other),
                expected="float32",
                remedy="export the graph in float32",
            )
        effective = Effective(
            runtime=NAME,
            version=self.availability().version,
            device="CPU",
            precision="fp32",
            threads=1,
            evidence="numpy computes each operator in the types of the graph, which are float32",
        )
        return _ReferenceSession(_evaluator(onnx), facts, effective)


class _ReferenceSession(Session):
    """The base class has checked the inputs before, and checks the outputs after."""

    def __init__(self, evaluator: Any, facts: GraphFacts, effective: Effective) -> None:  # noqa: ANN401
        super().__init__(facts.inputs, facts.outputs, effective)
        self._evaluator: Any = evaluator
        # Nothing says that the evaluator may be called by several threads.
        self._lock = threading.Lock()

    def _run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        with self._lock:
            self.check_usable()  # it may have been closed while this call waited
            try:
                with np.errstate(all="ignore"):  # a NaN is a value like any other
                    results = self._evaluator.run(None, dict(tensors))
            # numpy and onnx raise many types.
            except Exception as error:  # noqa: BLE001
                raise InferenceFailedError(
                    "the reference evaluator failed", got=library_words(error)
                ) from None
            # A copy: an output may be an input, a constant, or another output.
            return {
                spec.name: np.array(result, order="C", copy=True)
                for spec, result in zip(self.outputs, results, strict=True)
            }

    def _close(self) -> None:
        with self._lock:
            self._evaluator = None


def _evaluator(graph: bytes) -> Any:  # noqa: ANN401 - onnx has no types here
    import onnx
    from onnx.reference import ReferenceEvaluator

    try:
        model = onnx.load_from_string(graph)
        onnx.checker.check_model(model)
        return ReferenceEvaluator(model)
    # The checker and the evaluator raise many types.
    except Exception as error:  # noqa: BLE001
        raise GraphRefusedError(
            "the reference evaluator does not open this graph",
            got=library_words(error),
            expected="operators and versions that it implements",
        ) from None


RUNTIME: Final = OnnxReference()
