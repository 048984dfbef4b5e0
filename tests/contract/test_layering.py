"""Who may import whom (docs/architecture.md), read off the syntax tree; and who may name a family."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from pathlib import Path

import pytest
from source_tree import ROOT, Package, circle, climbs, parsed, top

LIBRARY = Package(ROOT / "src" / "isodiff")
FILES = LIBRARY.files

LAYERS = [
    ("errors",),
    ("allocator", "bounds", "files", "intervals", "provenance", "types", "units", "upgrade"),
    ("categorical", "progress", "references", "rng", "serialization", "text_files"),
    ("json_lines", "record", "study_record"),
    ("plateau", "task_results"),
    ("network", "process"),
    ("cost",),
    ("families", "scaling"),
    ("data",),
    ("runs",),
    ("evaluate", "train"),
    ("interop", "report"),
    ("study",),
    ("cli",),
]
"""From low to high. A package imports lower layers only, and no neighbor of its own layer."""

FORBIDDEN = {
    # torch-free, from records on disk alone: nothing that trains or evaluates is called back
    "report": ("families", "network", "process", "data", "runs", "train", "evaluate"),
    "scaling": ("process",),
    # what trains and measures knows nothing of laws
    "data": ("families", "scaling"),
    "runs": ("scaling",),
    "train": ("scaling",),
    "evaluate": ("scaling",),
    # a study hands its folder to the report; the command line calls both
    "study": ("report",),
}

# Imports against the rules that are still to be removed; the list only shrinks.
KNOWN_CLIMBS: set[str] = set()

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
    ("scaling/laws/law.py", "autoregressive"),  # the reference curve of compute ratios
    ("scaling/point_sources.py", "autoregressive"),  # translation of the published file's column
    ("scaling/point_sources.py", "ar"),
    ("scaling/point_sources.py", "masked"),
    ("scaling/point_sources.py", "mdlm"),
    ("scaling/point_sources.py", "uniform"),
    ("scaling/point_sources.py", "duo"),
    ("scaling/point_sources.py", "interpolating"),
    ("scaling/point_sources.py", "esolm"),
    *(
        (
            f"interop/{layout}.py",
            name,
        )  # layouts have names, and say which family a checkpoint is of
        for layout, names in {
            "gpt2": ("autoregressive",),
            "llama": ("autoregressive",),
            "dit_ar": ("autoregressive",),
            "mdlm": ("mdlm", "masked"),
            "duo": ("duo", "uniform"),
            "bd3lm": ("bd3lm", "block"),
            "esolm": ("esolm", "interpolating"),
            "smdm": ("masked", "autoregressive"),
        }.items()
        for name in names
    ),
}


@functools.cache
def imports_at_once(module: str) -> frozenset[str]:
    """What importing the module imports: not inside functions, not for type checkers only."""
    found: set[str] = set()
    todo: list[ast.AST] = list(parsed(FILES[module]).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo += node.orelse
            continue
        found |= LIBRARY.targets(node)
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
    return LIBRARY.under(*package.split("."))


def test_no_import_goes_around_in_a_circle() -> None:
    found = circle(LIBRARY.graph())
    assert not found, " -> ".join(found)


def test_imports_point_downwards() -> None:
    """The message names the imports that do not, or that no longer need their exception."""
    found = climbs(LIBRARY, LAYERS, FORBIDDEN)
    assert found == KNOWN_CLIMBS, sorted(found ^ KNOWN_CLIMBS)


def test_the_map_of_the_docs_has_the_same_layers() -> None:
    """The rows of the table in docs/architecture.md; every package and top module is on it."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page, re.M)
    assert [tuple(re.findall(r"\w+", row)) for row in rows] == LAYERS
    assert {name for names in LAYERS for name in names} == {top(m) for m in FILES} - {""}


def test_no_family_imports_another() -> None:
    families = {module for module in under("families") if defines_a_family(module)}
    assert len(families) > 5
    for module in families:
        assert not (LIBRARY.imports(module) & families) - {module}, module


def defines_a_family(module: str) -> bool:
    """A class with the keyword by which families register: `class Masked(Family, name=...)`."""
    classes = [node for node in parsed(FILES[module]).body if isinstance(node, ast.ClassDef)]
    return any(keyword.arg == "name" for node in classes for keyword in node.keywords)


def test_families_see_of_the_network_its_waist_only() -> None:
    own = {t for m in under("families") for t in LIBRARY.imports(m) if "isodiff.network" in t}
    assert own <= {"isodiff.network", "isodiff.network.attention", "isodiff.network.view"}


def test_the_graph_checks_can_fail(tmp_path: Path) -> None:
    """A planted package with a circle through a function and a type, a climb, and a neighbor."""
    for name, text in {
        "__init__.py": "",
        "low/__init__.py": "",
        "low/a.py": "def f():\n    from isodiff.low import b\n",
        "low/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from isodiff.low.c import C\n",
        "low/c.py": "import isodiff.low.a\nclass C: ...\n",
        "middle.py": "from isodiff.high import x\nfrom isodiff.low import c\n",
        "beside.py": "from isodiff import middle\n",
        "high.py": "from isodiff.low.c import C\nfrom isodiff import middle\nx = 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    planted = Package(tmp_path)
    found = circle(planted.graph())
    assert found[0] == found[-1]
    for module, target in itertools.pairwise(found):
        assert target in planted.imports(module)
    assert climbs(planted, [("low",), ("middle", "beside"), ("high",)], {"high": ("low",)}) == {
        "isodiff.middle imports isodiff.high",
        "isodiff.beside imports isodiff.middle",
        "isodiff.high imports isodiff.low.c",
    }
    assert not circle(planted.graph() | {"isodiff.low.c": set(), "isodiff.high": set()})


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
    tree = parsed(FILES[module])
    prose, file = docstrings(tree), FILES[module].relative_to(LIBRARY.folder).as_posix()
    found: set[str] = set()
    for node in ast.walk(tree):
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
