"""One report for every command that proves something: JSON, one page, JUnit XML."""

from medsdk._refusals import ReportFolderError
from medsdk.reports.report import Report
from medsdk.reports.wording import Language
from medsdk.reports.writing import check_report_folder, write_report

__all__ = ["Language", "Report", "ReportFolderError", "check_report_folder", "write_report"]
