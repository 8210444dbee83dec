"""Finds passages by meaning and by keyword, and answers only with what the catalog vouches for."""

from s4.domains.search.comparison import Comparison, compare
from s4.domains.search.model import SearchLimits
from s4.domains.search.query_log import QueryLog
from s4.domains.search.recall import RecallSampler
from s4.domains.search.service import SearchService

__all__ = ["Comparison", "QueryLog", "RecallSampler", "SearchLimits", "SearchService", "compare"]
