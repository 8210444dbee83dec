"""Reads templates of CloudFormation into troposphere's classes: run by the interpreter of requirements/clouds.lock.

They are made from Amazon's specification by other hands than cfn-lint's rules, and refuse unknown properties, values of
another type, and missing ones that are required.
"""

import sys
from pathlib import Path

from cfn_flip import load_yaml  # type: ignore[import-not-found]  # in an environment of its own
from troposphere.template_generator import TemplateGenerator  # type: ignore[import-not-found]  # likewise

for name in sys.argv[1:]:
    template = TemplateGenerator(load_yaml(Path(name).read_text()))
    template.to_json()  # here it looks what is missing
    print(name, len(template.resources))
