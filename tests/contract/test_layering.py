"""Who may import whom (docs/decisions), read off the syntax tree; and who may name a family."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

import isodiff

SOURCE = Path(isodiff.__file__).parent
SHARED_BY_FAMILIES = {
    "isodiff.families",
    "isodiff.families.base",
    "isodiff.families.read_positions",
    "isodiff.families.reveal_times",
    "isodiff.families.sampling",
}
WITHOUT_TORCH = [
    "scaling",
    "report",
    "record",
    "cli",
    "cli.__init__",
    "cli.fit",
    "cli.plan",
    "cli.report",
]

# (file, text): the only places outside families/ that name a family, each for its reason.
NAMING_EXCEPTIONS = {
    ("scaling/laws/isoflop.py", "autoregressive"),  # the reference curve of compute ratios
    ("scaling/point_sources.py", "autoregressive"),  # translation of the published file's column
    ("scaling/point_sources.py", "ar"),
    ("scaling/point_sources.py", "masked"),
    ("scaling/point_sources.py", "mdlm"),
    ("scaling/point_sources.py", "uniform"),
    ("scaling/point_sources.py", "duo"),
    ("scaling/point_sources.py", "interpolating"),
    ("scaling/point_sources.py", "esolm"),
}


def module_name(path: Path) -> str:
    parts = ("isodiff", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())


def targets(node: ast.AST) -> set[str]:
    """Modules that one statement imports; a name imported from a package may be a module."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0 and node.module, "relative imports are not used"
        inner = {f"{node.module}.{alias.name}" for alias in node.names}
        return {node.module} | {name for name in inner if name in FILES}
    return set()


@functools.cache
def imports(module: str) -> frozenset[str]:
    """Everything imported anywhere in the file."""
    return frozenset(name for node in ast.walk(tree(module)) for name in targets(node))


@functools.cache
def imports_at_once(module: str) -> frozenset[str]:
    """What importing the module imports: not inside functions, not for type checkers only."""
    found: set[str] = set()
    todo: list[ast.AST] = list(tree(module).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo += node.orelse
            continue
        found |= targets(node)
        todo += ast.iter_child_nodes(node)
    return frozenset(found)


def packages_of(module: str) -> set[str]:
    """The module and the packages whose __init__ runs before it."""
    parts = module.split(".")
    return {".".join(parts[: i + 1]) for i in range(len(parts))}


def reached(module: str) -> set[str]:
    """Everything that importing `module` imports, through isodiff's own modules."""
    seen: set[str] = set()
    todo = packages_of(module)
    while todo:
        name = todo.pop()
        seen.add(name)
        if name in FILES:
            more = {m for target in imports_at_once(name) for m in packages_of(target)}
            todo |= more - seen
    return seen


def under(package: str) -> list[str]:
    name = f"isodiff.{package}"
    return [module for module in FILES if module == name or module.startswith(name + ".")]


def offenders(modules: list[str], forbidden: str) -> list[str]:
    return [
        f"{module} imports {target}"
        for module in modules
        for target in imports(module)
        if target == forbidden or target.startswith(forbidden + ".")
    ]


def test_the_network_knows_no_family() -> None:
    assert not offenders(under("network"), "isodiff.families")


def test_processes_know_no_network_and_no_family() -> None:
    for forbidden in ("network", "families", "data", "train"):
        assert not offenders(under("process"), f"isodiff.{forbidden}")


def test_no_family_imports_another() -> None:
    for module in under("families"):
        siblings = {t for t in imports(module) if t.startswith("isodiff.families")}
        assert siblings <= SHARED_BY_FAMILIES, module


def test_families_know_only_what_lies_below_them() -> None:
    for forbidden in ("train", "study", "scaling", "report", "evaluate", "data"):
        assert not offenders(under("families"), f"isodiff.{forbidden}")
    own = {t for m in under("families") for t in imports(m) if t.startswith("isodiff.network")}
    assert own <= {"isodiff.network", "isodiff.network.attention", "isodiff.network.view"}


def test_nobody_imports_the_command_line() -> None:
    rest = [module for module in FILES if not module.startswith("isodiff.cli")]
    assert not offenders(rest, "isodiff.cli")


def test_records_flow_forward_only() -> None:
    """record <- scaling <- report; nothing calls back."""
    assert not offenders(under("scaling"), "isodiff.report")
    for package in ("record", "files", "errors", "units"):
        for later in ("scaling", "report", "train", "study", "families", "network"):
            assert not offenders(under(package), f"isodiff.{later}")
    for package in ("train", "families", "network", "data"):
        for later in ("scaling", "report", "study"):
            assert not offenders(under(package), f"isodiff.{later}")


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_no_torch_where_none_is_needed(package: str) -> None:
    """Not even through other modules: `isodiff fit` must start at once."""
    if package in ("cli", "cli.__init__"):
        modules = ["isodiff.cli"]
    else:
        modules = under(package)
    for module in modules:
        assert "torch" not in {name.split(".")[0] for name in reached(module)}, module


def test_only_families_and_networks_are_found_by_the_torch_check() -> None:
    """The check above can fail: what does need torch reaches it."""
    assert "torch" in reached("isodiff.families.masked")
    assert "torch" in reached("isodiff.network.transformer")


@functools.cache
def family_names() -> tuple[frozenset[str], frozenset[str]]:
    """Names and nicknames; class and module names."""
    from isodiff.families import FAMILIES

    labels = {label for f in FAMILIES.values() for label in (f.name, f.nickname)}
    return frozenset(labels), frozenset(f.__name__ for f in FAMILIES.values())


def docstrings(module: ast.Module) -> set[int]:
    return {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def namings(module: str) -> set[tuple[str, str]]:
    """(file, text) of every literal or identifier that is the name of a family.

    English words that are also names ("masked", "uniform") and "ar" count as literals, not as
    identifiers; other names, nicknames and class names count as both.
    """
    labels, classes = family_names()
    identifiers = classes | (labels - {"masked", "uniform", "hybrid", "block", "gaussian", "ar"})
    prose, file = docstrings(tree(module)), FILES[module].relative_to(SOURCE).as_posix()
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            found |= {node.value} & labels
        elif isinstance(node, ast.Name):
            found |= {node.id} & identifiers
        elif isinstance(node, ast.Attribute):
            found |= {node.attr} & identifiers
        elif isinstance(node, ast.alias):
            found |= {node.name.split(".")[-1]} & (identifiers | labels)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "isodiff.families."
        ):
            found |= {(node.module or "").split(".")[-1]} & labels
    return {(file, text) for text in found}


def test_nothing_outside_families_names_a_family() -> None:
    outside = [module for module in FILES if not module.startswith("isodiff.families")]
    named = {naming for module in outside for naming in namings(module)}
    assert named <= NAMING_EXCEPTIONS, sorted(named - NAMING_EXCEPTIONS)


def test_exceptions_are_still_needed() -> None:
    outside = [module for module in FILES if not module.startswith("isodiff.families")]
    named = {naming for module in outside for naming in namings(module)}
    assert named >= NAMING_EXCEPTIONS, sorted(NAMING_EXCEPTIONS - named)
