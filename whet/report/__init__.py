"""Reports: one value, rendered as text, JSON and one HTML file that opens without a network."""

from whet.report.checked import check_report
from whet.report.dataset import Look
from whet.report.document import Report, write_html
from whet.report.judged import Judged
from whet.report.study import study_report

__all__ = ["Judged", "Look", "Report", "check_report", "study_report", "write_html"]
