"""Faults of a mask: a small series that a 1 x 1 network segments, held to the stored masks."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from medsdk.parity.evidence import Scope
from medsdk.parity.explaining import explain_order
from medsdk.parity.judging import Subject
from medsdk.parity.segmentation import MaskCase, change_evidence, measure_masks
from medsdk.tasks.gates import SegmentationGate
from medsdk_runtimes import Settings, runtime
from tests.planted_faults.plant import Alarm, Plant
from tests.planted_faults.workshop import Workshop

STUDIES, SLICES, SIDE = 160, 5, 16
SPACING_MM = (5.0, 1.0, 1.0)
THRESHOLD = 0.5


def _volume(seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Slices x H x W of one study, brighter where the lesion is, and where that is.

    The lesion fills the first slices, one row less from slice to slice.
    """
    rng = np.random.default_rng(seed)
    truth = np.zeros((SLICES, SIDE, SIDE), bool)
    y, x = rng.integers(1, 7, 2)
    for number in range(SLICES - 1):
        truth[number, y : y + 8 - 2 * number, x : x + 8] = True
    noise = rng.normal(0, 0.2, truth.shape)
    return (np.where(truth, 1.0, -1.0) + noise).astype(np.float32), truth


def _network() -> bytes:
    """Sigmoid of twice the value of each pixel, N x 1 x H x W."""
    constants = {"w": np.full((1, 1, 1, 1), 2.0, np.float32)}
    edges = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
        for name in ("image", "mask")
    ]
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["scores"]),
        helper.make_node("Sigmoid", ["scores"], ["mask"]),
    ]
    made = helper.make_graph(
        nodes,
        "mask",
        edges[:1],
        edges[1:],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model: onnx.ModelProto = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    data: bytes = model.SerializeToString()
    return data


def _masks(volumes: list[NDArray[np.float32]]) -> list[NDArray[np.bool_]]:
    session = runtime("onnxruntime").open(_network(), Settings(threads=1))
    try:
        probabilities = [
            session.run({"image": volume[:, np.newaxis]})["mask"] for volume in volumes
        ]
    finally:
        session.close()
    return [np.asarray(item[:, 0].astype(np.float64) >= THRESHOLD) for item in probabilities]


def reversed_mask(workshop: Workshop, planted: bool) -> tuple[Alarm, ...]:
    """The masks of a series stacked from the wrong end, held by the gate of segmentation."""
    del workshop  # the series needs no bundle
    studies = [_volume(number) for number in range(STUDIES)]
    references = _masks([volume for volume, _ in studies])
    measured, order = [], None
    for number, ((_, truth), reference) in enumerate(zip(studies, references, strict=True)):
        variant = reference[::-1] if planted else reference
        case = MaskCase(
            Subject(f"{number:016x}", number + 1, f"{number:016x}"),
            truth,
            reference,
            variant,
            SPACING_MM,
        )
        measured.append(measure_masks(case))
        order = order or explain_order(list(variant), list(reference), "slices of the mask")
    evidence = change_evidence(SegmentationGate(), measured, Scope(level="study"))
    if evidence.verdict == "pass":
        return ()
    why = f"; {order}" if order else ""
    return tuple(Alarm("mask", f"{reason}{why}") for reason in evidence.reasons)


PLANTS = (
    Plant(
        "slices reversed",
        f"synthetic masks of {STUDIES} series: stacked from the wrong end",
        "mask",
        r"dice .*the slices of the mask are in another order: reversed, all 5 agree",
        reversed_mask,
    ),
)
