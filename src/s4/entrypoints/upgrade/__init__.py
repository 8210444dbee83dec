"""`s4 upgrade --check`: whether this release can take over what is there, asked before it does.

`formats` names every format in which S4 stores something, with the versions that this release reads, and reads one
object of any of them. `check` looks at settings, schema, formats and index, and changes nothing.
"""

from s4.entrypoints.upgrade.check import check
from s4.entrypoints.upgrade.formats import FORMATS, Format, read_stored

__all__ = ["FORMATS", "Format", "check", "read_stored"]
