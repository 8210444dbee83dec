"""S4 connects to what is configured, and to nothing else: no telemetry, no look for updates, no model from a hub.

Its own code does none of that. Libraries that could are told not to, before they are imported; whoever wants it
otherwise sets the variable. `tests/ops/test_egress.py` watches every connection of a whole deployment.
"""

import os
from collections.abc import Mapping

QUIET: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime's wheels of Linux report to Microsoft since 1.29, from their import on
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",  # the tokenizer's library comes with a client of the hub
    "TRANSFORMERS_OFFLINE": "1",
}


def keep_libraries_quiet() -> None:
    """For this process and its children, from now on."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
