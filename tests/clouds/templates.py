"""Reading templates of CloudFormation: the short forms, and what becomes of them with given parameters."""

import copy
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

NOTHING = object()
"""What `AWS::NoValue` stands for."""
_ACCOUNT = {
    "AWS::AccountId": "123456789012",
    "AWS::Region": "us-east-1",
    "AWS::Partition": "aws",
    "AWS::StackName": "s4",
    "AWS::NoValue": NOTHING,
}
_CONDITIONS = frozenset({"Fn::Equals", "Fn::Not", "Fn::And"})


class _Loader(yaml.SafeLoader):
    """With Amazon's short forms, as the long ones."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    value: Any
    if isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_scalar(node)  # type: ignore[arg-type]
    if suffix == "GetAtt":
        value = value.split(".")
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def read(template: Path) -> dict[str, Any]:
    """A template as it is, with long forms; the caller's own."""
    return copy.deepcopy(_read(template))


@cache
def _read(template: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(template.read_text(), _Loader)
    return content


def made(template: Mapping[str, Any], **parameters: str) -> dict[str, Any]:
    """The resources that a deployment with these parameters makes, references filled in: those to parameters by their
    values, those to resources by `arn:RESOURCE`. Knows the functions that our templates use, and no others."""
    given = {
        name: parameters.get(name, str(each.get("Default", "")))
        for name, each in template.get("Parameters", {}).items()
    }
    values = {**_ACCOUNT, **{name: f"arn:{name}" for name in template["Resources"]}, **given}
    conditions = {name: _filled(each, values, {}) for name, each in template.get("Conditions", {}).items()}
    return {
        name: _filled(resource, values, conditions)
        for name, resource in template["Resources"].items()
        if conditions.get(resource.get("Condition"), True)
    }


def _filled(value: Any, values: Mapping[str, Any], conditions: Mapping[str, bool]) -> Any:
    if isinstance(value, list):
        return [each for each in (_filled(each, values, conditions) for each in value) if each is not NOTHING]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (name, argument), *_ = value.items()
        if name == "Ref":
            return values[argument]
        if name == "Fn::GetAtt":
            return f"arn:{argument[0]}"
        if name == "Fn::Sub":
            return _substituted(argument, values)
        if name == "Fn::If":
            return _filled(argument[1 if conditions[argument[0]] else 2], values, conditions)
        if name in _CONDITIONS:
            return _decided(name, [_filled(each, values, conditions) for each in argument])
    filled = {key: _filled(each, values, conditions) for key, each in value.items()}
    return {key: each for key, each in filled.items() if each is not NOTHING}


def _decided(name: str, arguments: list[Any]) -> bool:
    if name == "Fn::Equals":
        return bool(arguments[0] == arguments[1])
    return not arguments[0] if name == "Fn::Not" else all(arguments)


def _substituted(text: str, values: Mapping[str, Any]) -> str:
    """`${!x}` is a literal `${x}`; an attribute counts as its resource."""

    def one(found: re.Match[str]) -> str:
        name = found[1]
        return f"${{{name[1:]}}}" if name.startswith("!") else str(values[name.partition(".")[0]])

    return re.sub(r"\$\{([^}]*)\}", one, text)
