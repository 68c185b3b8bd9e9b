"""Attributes that say who a patient is; known answers and cases must not carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

IDENTITY_KEYWORDS = frozenset(
    {
        "AccessionNumber",
        "AdmissionID",
        "BranchOfService",
        "ConsultingPhysicianName",
        "CountryOfResidence",
        "CurrentPatientLocation",
        "EthnicGroup",
        "InstitutionAddress",
        "InstitutionName",
        "InstitutionalDepartmentName",
        "InsurancePlanIdentification",
        "IssuerOfPatientID",
        "MedicalRecordLocator",
        "MilitaryRank",
        "NameOfPhysiciansReadingStudy",
        "OperatorsName",
        "OtherPatientIDs",
        "OtherPatientIDsSequence",
        "OtherPatientNames",
        "PatientAddress",
        "PatientBirthDate",
        "PatientBirthName",
        "PatientBirthTime",
        "PatientComments",
        "PatientID",
        "PatientInstitutionResidence",
        "PatientInsurancePlanCodeSequence",
        "PatientMotherBirthName",
        "PatientName",
        "PatientReligiousPreference",
        "PatientTelecomInformation",
        "PatientTelephoneNumbers",
        "PerformingPhysicianName",
        "PersonAddress",
        "PersonName",
        "PersonTelephoneNumbers",
        "PhysiciansOfRecord",
        "ReferringPhysicianAddress",
        "ReferringPhysicianName",
        "ReferringPhysicianTelephoneNumbers",
        "RegionOfResidence",
        "RequestingPhysician",
        "ResponsibleOrganization",
        "ResponsiblePerson",
        "ScheduledPerformingPhysicianName",
    }
)
"""Direct identifiers of the Basic Application Level Confidentiality Profile, DICOM PS3.15
table E.1-1. UIDs and dates are left to whoever de-identifies: the profile replaces them rather
than emptying them, so their presence proves nothing."""


def identity_attributes(dataset: Dataset) -> list[str]:
    """Identity attributes that hold a value, anywhere in the dataset: those listed, and names.

    Args:
        dataset: A DICOM object.

    Returns:
        Keywords (tags of private attributes), sorted; `BurnedInAnnotation` where the object says
        that its pixels carry identity. Empty where none does.
    """
    found = set()
    for element in dataset.iterall():
        # A person's name identifies somebody, whichever attribute holds it.
        identity = element.keyword in IDENTITY_KEYWORDS or element.VR == "PN"
        if identity and _holds_value(element.value):
            found.add(element.keyword or str(element.tag))
        if element.keyword == "BurnedInAnnotation" and element.value == "YES":
            found.add(element.keyword)
    return sorted(found)


def _holds_value(value: object) -> bool:
    return value is not None and str(value).strip("^= \0") not in ("", "[]")
