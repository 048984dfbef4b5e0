"""Noise whose rows depend on nothing but what they are for."""

from __future__ import annotations

import torch

from isodiff.rng import Placed


def test_placed_rows_depend_on_their_key_alone() -> None:
    keys = [("item", 0), ("item", 1), ("item", 0)]
    places = torch.tensor([0.1, 0.5, 0.999])
    together = Placed(3, keys, places)
    assert together.strata().tolist() == places.double().tolist()
    assert together.antithetic(torch.tensor([10, 10, 5])).tolist() == [2, 6, 5]
    blocks, noise = together.scattered(4), together.uniform(7)
    assert (blocks[0].sort().values.diff() - 0.25).abs().max() < 1e-12
    alone = Placed(3, keys[1:2], places[1:2])
    assert alone.scattered(4).equal(blocks[1:2]) and alone.uniform(7).equal(noise[1:2])
    assert noise[0].equal(noise[2]) and not noise[0].equal(noise[1])
    # The same key asked for more numbers begins with the same ones.
    first = Placed(3, keys[:1], places[:1])
    first.permutation(4)
    assert first.uniform(40)[0, :7].equal(noise[0])
