"""INT8 from one calibration record: form A here, for CPUs."""

from medsdk_export.quantize.calibration import CalibrationRecord, calibrate
from medsdk_export.quantize.form_a import quantize_form_a

__all__ = ["CalibrationRecord", "calibrate", "quantize_form_a"]
