"""INT8 from one calibration record: form A for CPUs, form B for GPUs."""

from medsdk_export.quantize.calibration import CalibrationRecord, calibrate
from medsdk_export.quantize.form_a import quantize_form_a
from medsdk_export.quantize.form_b import quantize_form_b

__all__ = ["CalibrationRecord", "calibrate", "quantize_form_a", "quantize_form_b"]
