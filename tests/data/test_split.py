"""The split by content, and the pieces of a document that is too long for it."""

import numpy as np
import pytest

from isodiff.data.documents import Document
from isodiff.data.split import CUTS, assign, pieces


def test_assign_shares_and_refusal():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64, 5000, np.uint64)
    num_bytes = rng.integers(1, 2000, 5000)
    split = assign(keys, num_bytes, 0.1, 0.02)
    assert split is not None
    shares = np.bincount(split, num_bytes) / num_bytes.sum()
    # Each border is met to half a document.
    assert np.abs(shares - [0.88, 0.1, 0.02]).max() < 2000 / num_bytes.sum()
    ten_alike = assign(keys[:10], np.full(10, 7), 0.1, 0.2)
    assert ten_alike is not None and np.bincount(ten_alike).tolist() == [7, 1, 2]
    assert assign(keys[:3], num_bytes[:3], 0.05, 0.05) is None
    one_giant = np.array([10**9, *num_bytes])
    assert assign(np.append(keys[:1] // 2, keys), one_giant, 0.05, 0.05) is None
    assert assign(np.zeros(5000, np.uint64), num_bytes, 0.05, 0.05) is None


@pytest.mark.parametrize("cut", [None, *CUTS])
def test_pieces_join_to_the_document(cut):
    text = "\n\nab cd\nef\n\n\n gh ij\r\n \t\r\nkl mn op\n\nqr \n\n  \n"
    for length in (1, 3, 5, 10, 1000):
        parts = [piece.text for piece in pieces(Document(text, "a"), cut, length)]
        assert "".join(parts) == text
        assert all(len(part) >= length for part in parts[:-1]) and all(map(str.strip, parts))
    assert len([*pieces(Document(text, "a"), "blank lines", 1)]) == 4
    assert len([*pieces(Document(text, "a"), "lines", 1)]) == 5
