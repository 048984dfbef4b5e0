"""Given tokens are conditioned on, each of them, or refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isodiff.errors import InputError
from isodiff.evaluate.likelihood import likelihood
from isodiff.families.base import Family
from tests.contract.networks import FAMILIES, V, tiny, tokens

L = 7


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@settings(max_examples=8, deadline=None)
@given(st.lists(st.booleans(), min_size=L, max_size=L).filter(lambda given: len({*given}) == 2))
def test_none_is_ignored(family: Family, observed: list[bool]) -> None:
    """Another token in its place changes the nats, under equal noise."""
    known, x = torch.tensor([observed]), tokens(1, L)
    run: Any = SimpleNamespace(family=family, network=tiny(family))

    def nats(x: Tensor) -> Tensor:
        keys = [("text",)] * len(x)
        budget = 64 if family.vectors else 32
        return likelihood(run, x, known.expand_as(x), budget=budget, keys=keys).nats

    changed = (x + torch.eye(L, dtype=torch.long)[known[0]]) % V
    try:
        was = nats(x)
    except InputError as refused:
        assert "nothing may be given" in str(refused)
        return
    assert was not in nats(changed)
