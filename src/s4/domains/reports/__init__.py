"""What an operator reads once a month: how S4 did (`performance.py`), and what it cost whom and why (`cost.py`).

Both are made of what the catalog has stored; a bill of a cloud (`billing.py`) can be laid beside the model of costs.
A report is a `Page` of sentences, tables and charts, which is written as Markdown or as one page of HTML.
"""

from s4.domains.reports.billing import Bill, Line, read_bill
from s4.domains.reports.cost import MachinePrices
from s4.domains.reports.page import Page
from s4.domains.reports.page_html import as_html
from s4.domains.reports.service import ReportService

__all__ = ["Bill", "Line", "MachinePrices", "Page", "ReportService", "as_html", "read_bill"]
