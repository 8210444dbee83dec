"""What tests have and benchmarks want as well: real servers, and small real files."""

import sys

from machine import REPOSITORY

sys.path.append(str(REPOSITORY))  # `tests` is no installed package

from tests.factories.cluster import running_cluster
from tests.factories.control_groups import ControlGroup, control_group
from tests.factories.deployment import flags
from tests.factories.files import docx, pdf, pptx, zipped
from tests.factories.provider import proxy_in_thread
from tests.factories.steady_load import Answered, steady_load
from tests.factories.tenantry import settle
from tests.fault_proxy import Fault, FaultProxy, Mode
from tests.servers import PostgresServer, S3Server, free_ports, postgres, seaweedfs

__all__ = [
    "Answered",
    "ControlGroup",
    "Fault",
    "FaultProxy",
    "Mode",
    "PostgresServer",
    "S3Server",
    "control_group",
    "docx",
    "flags",
    "free_ports",
    "pdf",
    "postgres",
    "pptx",
    "proxy_in_thread",
    "running_cluster",
    "seaweedfs",
    "settle",
    "steady_load",
    "zipped",
]
