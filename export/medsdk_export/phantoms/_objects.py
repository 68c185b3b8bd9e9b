"""What the DICOM objects of all phantoms share: identity that is nobody's, UIDs, syntaxes.

Every type 2 attribute that could hold an identity is present and empty, and every date is
empty, so that the bytes depend on the phantom alone.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

__all__ = ["Syntax", "add_patient_and_study", "encode", "new_object", "uid"]

Syntax: TypeAlias = Literal["explicit-little", "implicit-little", "rle"]
"""Transfer syntaxes that phantoms are written in."""

_TRANSFER_SYNTAX_UIDS: dict[str, str] = {
    "explicit-little": "1.2.840.10008.1.2.1",
    "implicit-little": "1.2.840.10008.1.2",
    "rle": "1.2.840.10008.1.2.5",
}


def uid(*parts: str) -> str:
    """Return a UID under 2.25 (PS3.5 B.2) from the first 128 bits of a hash."""
    digest = hashlib.sha256("/".join(("medsdk-phantom", *parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def new_object(sop_class: str, instance_uid: str, syntax: Syntax) -> FileDataset:
    """Start an object with its file meta information and SOP Common Module.

    Args:
        sop_class: UID of its storage class.
        instance_uid: Its own UID.
        syntax: What :func:`encode` will be asked for.

    Raises:
        ValueError: The syntax is not one of :data:`Syntax`.
        ImportError: pydicom is not installed.
    """
    if syntax not in _TRANSFER_SYNTAX_UIDS:
        allowed = ", ".join(_TRANSFER_SYNTAX_UIDS)
        raise ValueError(f"unknown transfer syntax {syntax!r}; allowed: {allowed}")

    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(instance_uid)
    native = "explicit-little" if syntax == "rle" else syntax
    meta.TransferSyntaxUID = UID(_TRANSFER_SYNTAX_UIDS[native])
    # pydicom would write its own version here, and the bytes would change with it.
    meta.ImplementationClassUID = UID(uid("implementation"))
    meta.ImplementationVersionName = "MEDSDK_PHANTOM"

    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\x00" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    return dataset


def add_patient_and_study(dataset: Dataset, patient: str) -> None:
    """Add the Patient and General Study Modules of nobody; the study follows the patient."""
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
        "ReferringPhysicianName", "StudyID", "AccessionNumber",
    ):  # fmt: skip
        setattr(dataset, keyword, "")
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Synthetic phantom; no person was imaged"
    dataset.StudyInstanceUID = uid("study", patient)
    dataset.StudyDescription = "Synthetic phantom"


def encode(dataset: FileDataset, syntax: Syntax) -> FileDataset:
    """Compress the pixels where the syntax asks for it; returns its argument."""
    if syntax == "rle":
        from pydicom.uid import RLELossless

        dataset.compress(RLELossless, generate_instance_uid=False)
    return dataset
