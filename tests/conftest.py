"""Shapes and types of the mathematics are checked at run time in every test (jaxtyping, beartype)."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator

import pytest
from jaxtyping import install_import_hook

CHECKED = [
    "isodiff.categorical",
    "isodiff.families",
    "isodiff.network.view",
    "isodiff.process",
    "isodiff.rng",
]
assert not set(CHECKED) & set(sys.modules), "the import hook must come before the imports"
install_import_hook(CHECKED, "beartype.beartype")

if importlib.util.find_spec("torch") is not None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def float64() -> Iterator[None]:
    """float64 as the default, for tests that claim exactness."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
