"""`import isodiff` is light, and every public name is there."""

import subprocess
import sys

import pytest

import isodiff


def test_public_names_resolve():
    assert sorted(isodiff.PUBLIC) == sorted(isodiff.__all__)
    for name in isodiff.__all__:
        assert getattr(isodiff, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = isodiff.nothing


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, isodiff; sys.exit(bool({'torch', 'scipy', 'altair'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
