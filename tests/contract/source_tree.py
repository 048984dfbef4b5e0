"""The library's source as data: its files, who imports whom, its names and who uses them."""

from __future__ import annotations

import ast
import builtins
import functools
import graphlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
USERS = ("tests", "benchmarks", "reproductions")
"""Folders beside the library whose imports count as uses of its names."""


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(parsed(path)))


@dataclass(frozen=True, eq=False)
class Package:
    """A package on disk: module name -> file."""

    folder: Path
    name: str = "isodiff"
    files: dict[str, Path] = field(init=False)

    def __post_init__(self) -> None:
        files = {self.module(path): path for path in sorted(self.folder.rglob("*.py"))}
        object.__setattr__(self, "files", files)

    def module(self, path: Path) -> str:
        parts = (self.name, *path.relative_to(self.folder).with_suffix("").parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def under(self, *parts: str) -> list[str]:
        """The module `parts` and every module below it."""
        top = ".".join((self.name, *parts))
        return [m for m in self.files if m == top or m.startswith(top + ".")]

    def targets(self, node: ast.AST) -> set[str]:
        """Modules that a statement imports: of a package's names, those that are modules."""
        if isinstance(node, ast.Import):
            return {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "relative imports are not used"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = inner & set(self.files)
            return modules if len(modules) == len(inner) else modules | {node.module}
        return set()

    def imports(self, module: str) -> set[str]:
        """Everything imported anywhere in the file."""
        return {t for node in nodes(self.files[module]) for t in self.targets(node)}

    def graph(self) -> dict[str, set[str]]:
        """Each module and the modules of the package that it imports.

        Imports inside functions count, as they postpone a cost and do not lift a dependence;
        imports for type checkers count too, as neither file can be read without the other.
        """
        return {
            module: (self.imports(module) & set(self.files)) - {module} for module in self.files
        }


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """A circle of imports, each module importing the next, the first again at the end; or []."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1][::-1]
    return []


def climbs(
    package: Package, layers: list[tuple[str, ...]], forbidden: Mapping[str, tuple[str, ...]]
) -> set[str]:
    """Imports of a higher layer or of a neighbor in the same one, and forbidden ones, in words.

    layers: names of packages and modules directly below the root, from low to high; the root,
    which re-exports, lies above all.
    forbidden: further packages, though lower, that a package must not import.
    """
    level = {name: height for height, names in enumerate([*layers, ("",)]) for name in names}
    edges = [(a, b) for a, targets in package.graph().items() for b in targets]
    return {
        f"{module} imports {target}"
        for module, target in edges
        if (own := top(module)) != (other := top(target))
        if level[own] <= level[other] or other in forbidden.get(own, ())
    }


def top(module: str) -> str:
    """`isodiff.a.b` -> `a`; the root itself -> the empty string."""
    return module.partition(".")[2].partition(".")[0]


# --- names -----------------------------------------------------------------------------------

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(module: ast.Module) -> dict[str, ast.stmt]:
    """Names that a module defines at its top: functions, classes, constants, type aliases."""
    found: dict[str, ast.stmt] = {}
    for node in statements(module.body):
        if isinstance(node, Definition):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {t.id: node for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return {name: node for name, node in found.items() if not dunder(name)}


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body, also inside `if` and `try`."""
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try):
                yield from statements(getattr(node, part, []))


def dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def uses(package: Package, root: Path = ROOT) -> set[tuple[str, str]]:
    """(module, name) of every name of the package that another file uses.

    A file uses a name by importing it, as an attribute of an imported module, or as a string:
    `"isodiff.a.b"`, or `"b"` in a file that imports the module (monkeypatching, lazy exports).
    A file that imports modules by computed names uses all attributes that it mentions.
    """
    own = {path: module for module, path in package.files.items()}
    others = [path for folder in USERS for path in (root / folder).rglob("*.py")]
    found: set[tuple[str, str]] = set()
    for path in [*own, *others]:
        found |= {use for use in used_in(package, path) if use[0] != own.get(path)}
    for page in [root / "README.md", *(root / "docs").rglob("*.md")]:
        if page.exists():
            found |= used_on(package, page)
    return reexported(package, found)


@functools.cache
def used_in(package: Package, path: Path) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    modules: dict[str, str] = {}  # local name -> module
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module in package.files:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in package.files:
                    modules[alias.asname or alias.name] = inner
                else:
                    found.add((node.module, alias.name))
        elif isinstance(node, ast.Import):
            modules |= {a.asname or a.name: a.name for a in node.names if a.name in package.files}
    imported = set(modules.values()) | {module for module, _ in found}
    attributes = [node for node in nodes(path) if isinstance(node, ast.Attribute)]
    held = {(dotted(node.value), node.attr) for node in attributes}
    found |= {(modules[holder], name) for holder, name in held if holder in modules}
    constants = {node.value for node in nodes(path) if isinstance(node, ast.Constant)}
    strings = {value for value in constants if isinstance(value, str)}
    found |= {(m, text) for m in imported for text in strings & all_names(package)}
    found |= {split(text) for text in strings if text.startswith(f"{package.name}.")}
    if path.is_relative_to(package.folder) and "import_module" in {name for _, name in held}:
        mentioned = (strings | {name for _, name in held}) & all_names(package)
        found |= {(module, name) for module in package.files for name in mentioned}
    return {use for use in found if use[0] in package.files}


def dotted(node: ast.expr) -> str:
    """`a.b` as text; the empty string for other expressions."""
    if isinstance(node, ast.Attribute):
        holder = dotted(node.value)
        return f"{holder}.{node.attr}" if holder else ""
    return node.id if isinstance(node, ast.Name) else ""


def split(path: str) -> tuple[str, str]:
    """`isodiff.a.b` or `isodiff.a:b` -> (`isodiff.a`, `b`)."""
    module, _, name = path.replace(":", ".").rpartition(".")
    return module, name


@functools.cache
def all_names(package: Package) -> frozenset[str]:
    """Names that any module defines at its top."""
    return frozenset(n for path in package.files.values() for n in definitions(parsed(path)))


def used_on(package: Package, page: Path) -> set[tuple[str, str]]:
    """Names that the Python of a page imports, and dotted names in its code spans."""
    text = page.read_text(encoding="utf-8")
    found: set[tuple[str, str]] = set()
    for module, names in re.findall(rf"from ({package.name}[\w.]*) import ([\w, ]+)", text):
        found |= {(module, name.strip()) for name in names.split(",")}
    return found | {split(path) for path in re.findall(rf"{package.name}(?:\.\w+)+", text)}


def reexported(package: Package, found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """What is used through a package's `__init__` is used where it is defined."""
    origins: dict[tuple[str, str], tuple[str, str]] = {}
    for module, path in package.files.items():
        for node in nodes(path):
            if isinstance(node, ast.ImportFrom) and node.module in package.files:
                names = node.names
                origins |= {(module, a.asname or a.name): (node.module, a.name) for a in names}
    result, todo = set(found), list(found)
    while todo:
        origin = origins.get(todo.pop())
        if origin and origin not in result:
            result.add(origin)
            todo.append(origin)
    return result


def exposed(node: ast.stmt) -> set[str]:
    """Names in the signature of a function, or in bases, fields and public methods of a class."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = node.args
        annotated = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        annotated += [a for a in (arguments.vararg, arguments.kwarg) if a]
        parts: list[ast.AST | None] = [a.annotation for a in annotated] + [node.returns]
    elif isinstance(node, ast.ClassDef):
        inner = [n for n in node.body if isinstance(n, Definition) and not n.name.startswith("_")]
        own = {name for method in inner for name in exposed(method)}
        fields = [n.annotation for n in node.body if isinstance(n, ast.AnnAssign)]
        return own | {name for part in [*fields, *node.bases] for name in names(part)}
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        is_alias = isinstance(node.value, ast.Subscript | ast.BinOp | ast.Name)
        annotation = node.annotation if isinstance(node, ast.AnnAssign) else None
        parts = [node.value if is_alias else None, annotation]
    else:
        parts = []
    return {name for part in parts if part for name in names(part)}


def names(node: ast.AST) -> set[str]:
    """Names in an annotation, quoted ones included; not those inside Annotated's remarks."""
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            found.add(inner.id)
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            found |= set(re.findall(r"[A-Za-z_]\w*", inner.value))
    return found - set(dir(builtins))


def used_alone(package: Package, root: Path = ROOT) -> dict[str, list[str]]:
    """Module -> its public names that no other file uses and no public signature shows."""
    used = uses(package, root)
    result: dict[str, list[str]] = {}
    for module, path in package.files.items():
        if path.name in ("__init__.py", "__main__.py"):
            continue
        defined = definitions(parsed(path))
        public = {name for name in defined if (module, name) in used} | listed(parsed(path))
        registered = {n for n, node in defined.items() if registers_itself(node)}
        todo = list(public | registered)
        while todo:
            for name in exposed(defined[todo.pop()]) & set(defined) - public:
                public.add(name)
                todo.append(name)
        alone = [n for n in defined if not n.startswith("_") and n not in public | registered]
        if alone:
            result[module] = alone
    return result


def listed(module: ast.Module) -> set[str]:
    """Names in `__all__`."""
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def registers_itself(node: ast.stmt) -> bool:
    """A class with keywords (`class Masked(Family, name=...)`), or one that a registry decorates."""
    if isinstance(node, ast.ClassDef) and node.keywords:
        return True
    if not isinstance(node, Definition):
        return False
    plain = ("dataclass", "functools.", "cache", "lru_cache", "contextmanager", "contextlib.")
    plain += ("overload", "torch.", "runtime_checkable", "property", "staticmethod")
    return any(
        not ast.unparse(decorator).removeprefix("dataclasses.").startswith(plain)
        for decorator in node.decorator_list
    )


def private_uses(package: Package, root: Path = ROOT) -> set[str]:
    """Uses of another module's `_name`, in words."""
    own = {path: module for module, path in package.files.items()}
    others = [path for folder in USERS for path in (root / folder).rglob("*.py")]
    return {
        f"{path.relative_to(root)} uses {module}.{name}"
        for path in [*own, *others]
        for module, name in used_in(package, path)
        if name.startswith("_") and not dunder(name) and own.get(path) != module
        if name in definitions(parsed(package.files[module]))
    }


def repeated(package: Package, kinds: type | tuple[type, ...]) -> dict[str, list[str]]:
    """Public names of that kind that several modules define -> the modules."""
    where: dict[str, list[str]] = {}
    for module, path in package.files.items():
        for name, node in definitions(parsed(path)).items():
            if isinstance(node, kinds) and not name.startswith("_"):
                where.setdefault(name, []).append(module)
    return {name: modules for name, modules in where.items() if len(modules) > 1}
