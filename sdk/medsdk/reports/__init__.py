"""One report for every command that proves something: JSON, one page, JUnit XML."""

from medsdk._refusals import ReportFolderError
from medsdk.reports.report import Report
from medsdk.reports.wording import Language
from medsdk.reports.writing import DOCUMENT, JUNIT, PAGE, check_report_folder, write_report

__all__ = [
    "DOCUMENT",
    "JUNIT",
    "PAGE",
    "Language",
    "Report",
    "ReportFolderError",
    "check_report_folder",
    "write_report",
]
