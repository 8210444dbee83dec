"""What tests have and benchmarks want as well: real servers, and small real files."""

import sys

from machine import REPOSITORY

sys.path.append(str(REPOSITORY))  # `tests` is no installed package

from tests.factories.files import docx, pdf, pptx, zipped  # noqa: E402 (found by the line above)
from tests.servers import S3Server, seaweedfs  # noqa: E402

__all__ = ["S3Server", "docx", "pdf", "pptx", "seaweedfs", "zipped"]
