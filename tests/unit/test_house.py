"""House rules that types cannot say, held against the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import s4
import s4client

LINES_MAX = 500
ROOTS = [Path(folder) for package in (s4, s4client) for folder in package.__path__]
SECRET = re.compile(
    r"(^|_)(secret|password|plaintext|api_key|admin_key|tenant_key|key_hash|hash|signature|presented|metrics_token)$"
)
VARIABLE = re.compile(r"S4_[A-Z][A-Z0-9_]*")


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Name relative to `src` and syntax tree of every module."""
    for root in ROOTS:
        for path in sorted(root.rglob("*.py")):
            yield path.relative_to(root.parent).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def last_name(node: ast.AST) -> str:
    """`credentials.key_hash()` is `key_hash`."""
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_column(node: ast.AST) -> bool:
    """`table.c.name`: compared by the database."""
    return isinstance(node, ast.Attribute) and last_name(node.value) == "c"


def secret_comparisons(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            operands = [node.left, *node.comparators]
            if any(SECRET.search(last_name(operand)) for operand in operands) and not any(map(is_column, operands)):
                found.append(ast.unparse(node))
    return found


CONTEXTS = {"TenantContext", "AdminContext"}
COPIERS = {"replace", "dataclasses.replace", "copy.replace", "copy.copy", "copy.deepcopy"}


def mints_contexts(tree: ast.Module) -> list[str]:
    """Calls that make a context, under whatever name it was imported or kept; and what passes the constructor by."""
    names = set(CONTEXTS)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname for alias in node.names if alias.asname and alias.name in CONTEXTS}
        elif (
            isinstance(node, ast.Assign) and last_name(node.value) in CONTEXTS and not isinstance(node.value, ast.Call)
        ):
            names |= {last_name(target) for target in node.targets}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = last_name(node.func)
        first = node.args[0] if node.args else None
        called = name in names and not isinstance(node.func, ast.Call)
        copied = ast.unparse(node.func) in COPIERS and isinstance(first, ast.AST) and "context" in last_name(first)
        forged = name in {"__new__", "partial"} and any(last_name(argument) in names for argument in node.args)
        if called or copied or forged:
            found.append(ast.unparse(node))
    return found


def test_only_the_gate_mints_contexts() -> None:
    """Not by `dataclasses.replace` either, which would make one tenant's context another's."""
    minted = {module for module, tree in modules() if mints_contexts(tree)}
    assert minted == {"s4/domains/access/service.py"}


def test_nobody_reaches_into_what_is_frozen() -> None:
    """`object.__setattr__` changes a context that was proved for another tenant."""
    reaching = {
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "__setattr__"
    }
    assert reaching == set()


@pytest.mark.parametrize(
    "source",
    [
        "TenantContext(a, b)",
        "context.TenantContext(a)",
        "from s4.kernel.context import TenantContext as T\nT(a)",
        "Mint = TenantContext\nMint(a)",
        "replace(context, tenant_id=other)",
        "dataclasses.replace(self.context, tenant_id=other)",
        "copy.replace(tenant_context, tenant_id=other)",
        "object.__new__(AdminContext)",
        "functools.partial(TenantContext, a)",
    ],
)
def test_the_search_for_mints_finds_them(source: str) -> None:
    assert mints_contexts(ast.parse(source))


def test_the_search_for_mints_leaves_others_alone() -> None:
    for source in (
        "isinstance(x, TenantContext)",
        "text.replace(a, b)",
        "replace(document, key=key)",
        "service.replace(context, plan)",
        "context.require(p)",
    ):
        assert not mints_contexts(ast.parse(source))


def test_only_the_configuration_knows_names_of_variables() -> None:
    """The command line's own, of the caller's side, stand with its options."""
    named = {
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value)
    }
    assert named <= {"s4/entrypoints/configuration.py", "s4/entrypoints/cli/options.py"}
    readers = {
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.alias) and node.name in {"BaseSettings", "pydantic_settings"}
    }
    assert readers == {"s4/entrypoints/configuration.py"}


def test_nobody_reads_the_environment_past_the_configuration() -> None:
    touched = {
        (module, ast.unparse(parent))
        for module, tree in modules()
        for parent in ast.walk(tree)
        if isinstance(parent, ast.Call | ast.Subscript)
        for node in ast.iter_child_nodes(parent)
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and part.attr in {"environ", "getenv"}
        if part is node or isinstance(node, ast.Attribute)
    }
    allowed = {
        # the libraries' own switches
        ("s4/engine/vectors/store.py", "os.environ.setdefault('LANCEDB_LOG', 'off')"),
        ("s4/platform/egress.py", "os.environ.setdefault(name, value)"),
        # in which format it is told that the settings cannot be read
        ("s4/entrypoints/configuration.py", "os.environ.get(f'{_PREFIX}LOG_FORMAT', '')"),
        ("s4/engine/vectors/store.py", "os.environ.setdefault('ARROW_DEFAULT_MEMORY_POOL', 'system')"),
        ("s4/engine/vectors/store.py", "os.environ.setdefault(variable, str(self._threads))"),
        ("s4/platform/objects/factory.py", "os.environ.pop(variable, None)"),
        ("s4/platform/trust.py", "os.environ.get('SSL_CERT_FILE')"),
        ("s4/platform/trust.py", "os.environ['SSL_CERT_FILE']"),
        ("s4/entrypoints/serve.py", "dict(os.environ)"),  # handed on to the worker, unread
    }
    assert touched <= allowed
    imported = {
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "os"
        if {alias.name for alias in node.names} & {"environ", "getenv"}
    }
    assert imported == set()


def test_secrets_are_not_compared_by_equality() -> None:
    """`==` ends at the first difference, and the time it takes tells where."""
    found = {module: comparisons for module, tree in modules() if (comparisons := secret_comparisons(tree))}
    # The client asks whether its own key has blanks around it.
    found.pop("s4client/transport.py", None)
    assert found == {}


def test_the_search_for_comparisons_finds_them() -> None:
    for source in ("key.hash == given", "x != settings.metrics_token", "hash_secret() == api_key"):
        assert secret_comparisons(ast.parse(source))
    for source in ("rows.c.key_hash == key_hash", "lease.token == token", "matches(plaintext, key.hash)"):
        assert not secret_comparisons(ast.parse(source))


def test_no_file_is_longer_than_a_reader_bears() -> None:
    long = {
        path.as_posix(): count
        for root in ROOTS
        for path in root.rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }
    assert long == {}


def sent_to_threads(tree: ast.Module) -> list[str]:
    """Endpoints, and functions of dependencies, that FastAPI would send to its thread pool: those that are plain."""
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    endpoints = {
        name
        for name, node in functions.items()
        if any(isinstance(each, ast.Call) and last_name(each) in METHODS for each in node.decorator_list)
    }
    dependencies = {
        last_name(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and last_name(node) == "Depends" and not isinstance(node.args[0], ast.Call)
    }
    return sorted(endpoints | dependencies & set(functions))


METHODS = {"get", "head", "post", "put", "patch", "delete", "route_for"}


@pytest.mark.parametrize(
    "source",
    ["@router.get('/x', permission=P)\ndef x(): ...", "def who(r): ...\nWho = Annotated[T, Depends(who)]"],
)
def test_what_would_go_to_a_thread_is_recognised(source: str) -> None:
    assert len(sent_to_threads(ast.parse(source))) == 1
    assert not sent_to_threads(ast.parse(source.replace("def ", "async def ")))


def test_no_endpoint_and_no_dependency_goes_to_a_thread() -> None:
    found = {name: plain for name, tree in modules() if (plain := sent_to_threads(tree))}
    assert not found, "each waits for two switches of threads, to read an attribute"
