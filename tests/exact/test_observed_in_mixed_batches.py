"""Rows with different tokens given in one batch, under the noise of training: the mean is each row's own."""

from __future__ import annotations

import pytest
import torch
from oracle import LeaveOneOut, Optimal
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.families.base import Family
from isodiff.families.block import BlockDiffusion
from isodiff.families.hybrid import Hybrid
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.families.uniform import Uniform
from isodiff.network.view import LogProbTable, Prediction, View
from isodiff.rng import Placed, Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
V, L, EACH = 3, 4, 1500
TOY = Toy.random(V, L, seed=2)
FREE = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]).bool()
X = torch.tensor([[0, 2, 1, 0], [1, 1, 2, 0], [2, 0, 1, 1], [0, 0, 2, 2], [1, 2, 0, 1]])
FAMILIES: dict[str, Family] = {
    "masked": Masked(vocab_size=V),
    "uniform": Uniform(vocab_size=V),
    "hybrid": Hybrid(vocab_size=V),
    "interpolating-B": Interpolating(vocab_size=V, alpha_0=0.5),
    "block-2": BlockDiffusion(vocab_size=V, block_size=2),
}


class Told:
    """The exact denoiser of texts whose first tokens are given: as many as its row of the batch says."""

    vocab_size = V

    def __init__(self, family: Family) -> None:
        self.family = family

    def __call__(self, view: View) -> Prediction:
        if view.time is None:
            return Optimal(TOY)(view)
        process = getattr(self.family, "process", None)
        process = process if self.family.name == "hybrid" else None
        n = view.inputs.shape[1]
        whole = torch.full((*view.inputs.shape, V), torch.nan)
        for pattern, free in enumerate(FREE):
            rows = torch.arange(pattern, len(whole), len(FREE))
            known = tuple((~free).nonzero().squeeze(-1).tolist())
            oracle = LeaveOneOut(TOY, process=process, observed=known)
            part = View(view.inputs[rows], view.positions, view.attention, time=view.time[rows])
            whole[rows] = oracle(part).log_probs().view(len(rows), n, V)
        table = whole.flatten(0, 1)
        return LogProbTable(table if view.read is None else table[view.read])


def own() -> Tensor:
    """-log p(free | given) of every pattern, given tokens first."""
    known = X.masked_fill(FREE, V)
    return TOY.marginals[tuple(known.T)].log() - TOY.log_p(X)


def noise(placed: bool) -> Rows:
    total = EACH * len(FREE)
    if not placed:
        return Rows.of(stream(7), total)
    places = torch.rand(total, generator=stream(8), dtype=torch.float64)
    return Placed(7, [("row", i) for i in range(total)], places)


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_mean_of_every_row_is_its_own_nll(family: Family, placed: bool) -> None:
    x, observed = X.repeat(EACH, 1), ~FREE.repeat(EACH, 1)
    nats = family.nelbo(Told(family), x, rng=noise(placed), observed=observed).nats.view(
        EACH, len(FREE)
    )
    error = nats.std(0) / EACH**0.5
    gap = (nats.mean(0) - own()).abs()
    assert float(nats[:, -1].abs().max()) == 0 and bool((error[:3] > 0).all())
    assert bool((gap < 4 * error + 1e-12).all()), (gap, error)
