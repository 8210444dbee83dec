"""Requests to addresses that tenants name. None reaches the operator's own network.

`Allowance` decides on URLs when they are given and on addresses at the moment of connecting; `Outbound` sends.
"""

from s4.platform.outbound.addresses import AddressRefused, Allowance
from s4.platform.outbound.client import Answer, Outbound, OutboundTimings, Undelivered, resolve

__all__ = ["AddressRefused", "Allowance", "Answer", "Outbound", "OutboundTimings", "Undelivered", "resolve"]
