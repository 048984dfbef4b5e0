"""Public names: all there, light to import, unique in the library, and no more than are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import ROOT, Package, private_uses, repeated, used_alone

import isodiff

LIBRARY = Package(ROOT / "src" / "isodiff")
PROTOCOLS = {"run"}
"""Functions that several modules define because a caller finds them by that name: CLI verbs."""


def test_public_names_resolve():
    assert sorted(isodiff.PUBLIC) == sorted(isodiff.__all__)
    for name in isodiff.__all__:
        assert getattr(isodiff, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = isodiff.nothing


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, isodiff; sys.exit(bool({'torch', 'scipy', 'altair'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_class_name_exists_once():
    twice = repeated(LIBRARY, ast.ClassDef)
    assert not twice, twice


def test_a_function_name_exists_once_unless_it_is_of_a_protocol():
    twice = repeated(LIBRARY, (ast.FunctionDef, ast.AsyncFunctionDef))
    left = {name: modules for name, modules in twice.items() if name not in PROTOCOLS}
    assert not left, left


def test_what_only_its_own_file_uses_is_private():
    alone = used_alone(LIBRARY)
    assert not alone, alone


def test_private_names_stay_in_their_file():
    assert not private_uses(LIBRARY), private_uses(LIBRARY)


def test_the_checks_can_fail(tmp_path: Path):
    """A package with one offence of each kind, and with what looks like one and is none."""
    folder = tmp_path / "src" / "isodiff"
    files = {
        "__init__.py": "",
        "a.py": "LAZY = {}\nclass Twice: ...\ndef run(x: Shown): ...\ndef alone(): return _own()\n"
        "class Shown: ...\ndef _own(): ...\n",
        "b.py": "from isodiff.a import _own, run\nclass Twice: ...\ndef by_string(): ...\n",
        "c.py": "import isodiff.b\nfrom isodiff import a\na.LAZY\nisodiff.b.Twice\na.Twice\n"
        "getattr(isodiff.b, 'by_string')\ndef run(): ...\n",
    }
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    planted = Package(folder)
    assert repeated(planted, ast.ClassDef) == {"Twice": ["isodiff.a", "isodiff.b"]}
    assert repeated(planted, ast.FunctionDef) == {"run": ["isodiff.a", "isodiff.c"]}
    assert used_alone(planted, tmp_path) == {"isodiff.a": ["alone"], "isodiff.c": ["run"]}
    assert private_uses(planted, tmp_path) == {"src/isodiff/b.py uses isodiff.a._own"}
