"""Phantoms as cases of a task: the one table from a task to its pictures and their truth."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from medsdk_export.phantoms import _mr_dicom, _us_dicom, liver_us, uterus_mr

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["SOURCES", "PhantomCase"]


@dataclass(frozen=True)
class PhantomCase:
    """A phantom and what a task says of it.

    Attributes:
        index: Position in the sequence, from 0.
        label: The truth, one of the task's labels.
        patient: Name of the made-up patient; not an identity.
        stratum: Group whose figures are reported apart; the same for all cases of one patient.
        roi: (x0, y0, x1, y1) in pixels of the stored frame, outer corners; None where the
            task's crop takes none.
        to_dicom: Makes the DICOM object.
    """

    index: int
    label: str
    patient: str
    stratum: str
    roi: tuple[int, int, int, int] | None
    to_dicom: Callable[[], FileDataset]

    def to_bytes(self) -> bytes:
        """The DICOM object as a file, Explicit VR Little Endian."""
        stream = io.BytesIO()
        self.to_dicom().save_as(stream, enforce_file_format=True)
        return stream.getvalue()


def _uterus(count: int, seed: int) -> Iterator[PhantomCase]:
    for phantom in uterus_mr.slices(count, seed):
        yield PhantomCase(
            phantom.index,
            phantom.label,
            phantom.patient,
            phantom.tumour_kind,
            None,
            partial(_mr_dicom.to_dicom, phantom),
        )


def _liver(
    count: int, seed: int, label: Callable[[liver_us.Phantom], str]
) -> Iterator[PhantomCase]:
    for phantom in liver_us.frames(count, seed):
        yield PhantomCase(
            phantom.index,
            label(phantom),
            phantom.patient,
            phantom.stratum,
            phantom.roi,
            partial(_us_dicom.to_dicom, phantom),
        )


def _liver_kinds(count: int, seed: int) -> Iterator[PhantomCase]:
    return _liver(count, seed, lambda phantom: phantom.kind)


def _liver_malignancy(count: int, seed: int) -> Iterator[PhantomCase]:
    return _liver(count, seed, lambda phantom: "malignant" if phantom.malignant else "benign")


SOURCES: dict[str, Callable[[int, int], Iterator[PhantomCase]]] = {
    "uterus-mr/tumor-filter": _uterus,
    "liver-us/classify": _liver_kinds,
    "liver-us/malignancy": _liver_malignancy,
}
"""Task to what makes its cases from a count and a seed."""
