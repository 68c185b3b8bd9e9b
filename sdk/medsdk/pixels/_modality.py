"""Whether an object is of a modality that a task takes."""

from __future__ import annotations

from medsdk.pixels.errors import PixelInputRefusedError

_DEFINED_TERMS = frozenset(
    {
        "CR",
        "CT",
        "DX",
        "ECG",
        "ES",
        "IO",
        "IVUS",
        "KO",
        "MG",
        "MR",
        "NM",
        "OP",
        "OPT",
        "OT",
        "PR",
        "PT",
        "PX",
        "RF",
        "RG",
        "RTDOSE",
        "RTIMAGE",
        "RTPLAN",
        "RTSTRUCT",
        "SC",
        "SEG",
        "SM",
        "SR",
        "US",
        "XA",
        "XC",
    }
)
"""Defined terms of Modality (0008,0060), PS3.3 C.7.3.1.1.1, that a message may repeat."""


def check_modality(modality: str, allowed: tuple[str, ...]) -> None:
    """Refuse an object of another modality than a task takes.

    Args:
        modality: The object's.
        allowed: The task's.

    Raises:
        PixelInputRefusedError: It is another one. Only a defined term is repeated; anything
            else in that attribute stays private.
    """
    if modality in allowed:
        return
    known = modality if modality in _DEFINED_TERMS else "another value"
    raise PixelInputRefusedError(
        "the object's modality is not one that the task takes",
        got=f"Modality {known if modality else '(empty)'}",
        expected=f"Modality {' or '.join(allowed)}",
        remedy="give this task images of that modality",
    )
