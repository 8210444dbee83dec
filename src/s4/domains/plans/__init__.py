"""Plans: what a tenant may use, and for how much. Data that the operator edits; five come with S4."""

from s4.domains.plans.model import DEFAULT_PLANS, Plan, ServiceLevel
from s4.domains.plans.service import PlanService

__all__ = ["DEFAULT_PLANS", "Plan", "PlanService", "ServiceLevel"]
