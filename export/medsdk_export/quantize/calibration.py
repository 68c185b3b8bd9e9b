"""Ranges of every float tensor of a graph, over real inputs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator


@dataclass(frozen=True)
class CalibrationRecord:
    """What calibration saw; both INT8 forms are made from it.

    Attributes:
        ranges: Tensor name to (lowest, highest) value over all samples.
        samples: Number of inputs, n.
    """

    ranges: Mapping[str, tuple[float, float]]
    samples: int

    def tensors_data(self) -> TensorsData:
        """The record in the form that ONNX Runtime's quantizers take."""
        return TensorsData(
            CalibrationMethod.MinMax,
            {
                name: (np.array(low, np.float32), np.array(high, np.float32))
                for name, (low, high) in self.ranges.items()
            },
        )


def calibrate(
    model: onnx.ModelProto,
    input_name: str,
    tensors: Iterable[NDArray[np.float32]],
    progress: Callable[[int], None] | None = None,
) -> CalibrationRecord:
    """Run a graph over the calibration inputs and keep each tensor's extremes.

    The extremes over all samples, not the mean of each sample's, since averaging clips the
    rare bright input.

    Args:
        model: A float32 graph, BatchNorm folded.
        input_name: Name of its input.
        tensors: Preprocessed inputs, each (1, C, H, W).
        progress: Told after each sample how many are done.

    Returns:
        The record.

    Raises:
        ValueError: There was no sample.
    """
    reader = _Reader(input_name, iter(tensors), progress)
    with tempfile.TemporaryDirectory(
        prefix="medsdk-calibration-", ignore_cleanup_errors=True
    ) as folder:
        source = Path(folder, "model.onnx")
        source.write_bytes(model.SerializeToString())
        calibrator = create_calibrator(
            source, None, str(Path(folder, "augmented.onnx")), CalibrationMethod.MinMax
        )
        try:
            calibrator.collect_data(reader)
            data = calibrator.compute_data()
        finally:
            del calibrator  # holds the augmented file open, which Windows will not delete
    if reader.done == 0:
        raise ValueError("no calibration sample")
    ranges = {
        name: (float(item.range_value[0].item()), float(item.range_value[1].item()))
        for name, item in data.items()
    }
    return CalibrationRecord(ranges, reader.done)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(
        self,
        input_name: str,
        tensors: Iterator[NDArray[np.float32]],
        progress: Callable[[int], None] | None,
    ) -> None:
        self.done = 0
        self._input_name = input_name
        self._tensors = tensors
        self._progress = progress

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:  # None ends the calibration
        if self.done and self._progress is not None:
            self._progress(self.done)
        tensor = next(self._tensors, None)
        if tensor is None:
            return None
        self.done += 1
        return {self._input_name: tensor}
