"""Patterns count their own pairs; every path computes the same attention."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from isodiff.network.attention import (
    Attention,
    BidirectionalPrefix,
    BlockCausal,
    Causal,
    Full,
    TwoStream,
    attend,
    plain_attention,
)
from isodiff.rng import stream

PATTERNS = [
    Full(),
    Causal(),
    *(TwoStream(block) for block in (1, 2, 3, 5, 64)),
    *(TwoStream(block, hidden=2) for block in (2, 3)),
    *(BlockCausal(block) for block in (1, 3, 64)),
    *(BlockCausal(3, reach) for reach in (1, 2, 64)),
]
each_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=str)
PER_ROW = [BidirectionalPrefix(base, (0, 1, 2, 3, 5)) for base in (Causal(), TwoStream(1))]


def written_out(pattern: Attention, n: int) -> torch.Tensor:
    index = torch.arange(n)
    allowed = pattern.allowed(index[:, None], index[None, :], n)
    return allowed if isinstance(pattern, BidirectionalPrefix) else allowed.expand(n, n)


@pytest.mark.parametrize("pattern", PER_ROW, ids=str)
def test_patterns_may_differ_by_sequence(pattern: BidirectionalPrefix) -> None:
    """Entry by entry, pairs included, on every path, with and without gradients."""
    n = 12
    first, want = (6 if isinstance(pattern.base, TwoStream) else 0), written_out(pattern, n)
    for row, clean in enumerate(pattern.clean):
        for i in range(n):
            for j in range(n):
                both = first <= i < first + clean and first <= j < first + clean
                assert bool(want[row, i, j]) == (both or bool(written_out(pattern.base, n)[i, j]))
    assert pattern.pairs_in(5, n) == int(want.sum())
    assert [BidirectionalPrefix(pattern.base, (c,)).pairs(n) for c in pattern.clean] == want.sum(
        (1, 2)
    ).tolist()
    q, k, v = torch.randn(3, 5, 2, n, 8, dtype=torch.float64, generator=stream(2))
    out = scaled_dot_product_attention(q, k, v, attn_mask=want[:, None])
    for path in (plain_attention, attend):
        for grad in (False, True):
            got = path(q.requires_grad_(grad), k, v, pattern)
            torch.testing.assert_close(got.detach(), out, rtol=1e-12, atol=1e-13)


@each_pattern
def test_pairs_are_the_true_entries_of_the_mask(pattern: Attention) -> None:
    for n in [2, 4, 6, 8, 10, 14, 30, 64, 126]:
        assert pattern.pairs(n) == int(written_out(pattern, n).sum())
    if not isinstance(pattern, TwoStream):
        for n in (1, 3, 7):
            assert pattern.pairs(n) == int(written_out(pattern, n).sum())


@each_pattern
def test_every_query_sees_itself(pattern: Attention) -> None:
    """A row of the mask with nothing allowed would be a softmax over nothing."""
    assert written_out(pattern, 12).diagonal().all()


@each_pattern
def test_mask_is_the_pattern_written_out(pattern: Attention) -> None:
    mask = pattern.mask(12, torch.device("cpu"))
    if mask is None:
        assert written_out(pattern, 12).all()
    else:
        assert torch.equal(mask, written_out(pattern, 12))


@each_pattern
@pytest.mark.parametrize("n", [6, 20])
def test_plain_and_chosen_path_are_softmax_attention(pattern: Attention, n: int) -> None:
    q, k, v = torch.randn(3, 2, 4, n, 8, dtype=torch.float64, generator=stream(0, n))
    want = scaled_dot_product_attention(q, k, v, attn_mask=written_out(pattern, n))
    torch.testing.assert_close(plain_attention(q, k, v, pattern), want, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(attend(q, k, v, pattern), want, rtol=1e-12, atol=1e-13)


@each_pattern
def test_long_sequences_take_another_path_to_the_same_result(pattern: Attention) -> None:
    n = 1030
    q, k, v = torch.randn(3, 1, 1, n, 4, dtype=torch.float64, generator=stream(1))
    torch.testing.assert_close(
        attend(q, k, v, pattern), plain_attention(q, k, v, pattern), rtol=1e-11, atol=1e-12
    )
