"""Nothing leaks: exp(-nats), summed over all sequences, is one for a likelihood and at most one for a bound.

Whatever the network predicts. Predictions that see what they predict would make it another number.
"""

from __future__ import annotations

import math

import pytest
import torch
from networks import DEFAULTS, EXAMPLES, tiny

from isodiff.families import FAMILIES as REGISTERED
from isodiff.families.base import Family, undecided
from isodiff.families.sampling import sample
from isodiff.rng import Rows, Streams, stream

pytestmark = pytest.mark.usefixtures("float64")
V, L, DRAWS = 3, 3, 60
X = torch.cartesian_prod(*[torch.arange(V)] * L)
FAMILIES: dict[str, Family] = {
    **{name: REGISTERED[name](vocab_size=V) for name in DEFAULTS},
    **{
        f"{name}-{example}": REGISTERED[name](vocab_size=V, **options)
        for name in DEFAULTS
        for example, options in REGISTERED[name].examples.items()
    },
}
assert set(FAMILIES) == DEFAULTS.keys() | EXAMPLES.keys()
EXACT = {name: family for name, family in FAMILIES.items() if family.kind == "exact"}


def nats_of_all(family: Family, draws: int) -> torch.Tensor:
    """draws, X: what `nelbo` says of every sequence, each time."""
    x = X.repeat(draws, 1)
    with torch.no_grad():
        found = family.nelbo(tiny(family), x, rng=Rows.of(stream(0), len(x)))
    assert found.kind == family.kind
    return found.nats.view(draws, -1)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_gives_away_no_more_than_one(family: Family) -> None:
    nats = nats_of_all(family, 1 if family.kind == "exact" else DRAWS)
    p = (-nats.mean(0)).exp()
    if family.kind == "exact":
        assert float(p.sum()) == pytest.approx(1, abs=1e-9)
        return
    # To first order the error of the sum is that of the means, weighted by p; to second it is too high.
    error = (p.square() * nats.var(0) / DRAWS).sum().sqrt()
    bias = (p * nats.var(0) / DRAWS).sum() / 2
    assert float(p.sum()) < 1 + 4 * float(error) + float(bias) + 1e-9


@pytest.mark.parametrize("family", EXACT.values(), ids=EXACT)
def test_a_sampler_draws_by_the_exact_likelihood(family: Family) -> None:
    """Frequencies of 4000 texts against p, by chi-square: 1 in 1000 for 26 degrees of freedom is 54.05."""
    p, num = (-nats_of_all(family, 1)[0]).exp(), 4000
    texts, _ = sample(
        family, tiny(family), undecided(num, L), family.sampler_with(8), rng=Streams(1, num)
    )
    index = texts @ torch.tensor([V**i for i in reversed(range(L))])
    counts = torch.bincount(index, minlength=len(X)).double()
    kept = num * p >= 1  # rarer cells would need more texts
    statistic = ((counts - num * p).square() / (num * p))[kept].sum()
    assert float(statistic) < 54.05 and math.isclose(float(p.sum()), 1)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_family_says_what_it_is(name: str) -> None:
    """What the tables of the documentation, `isodiff cite` and the reports need."""
    cls = REGISTERED[name]
    assert cls.shows and cls.reads and cls.reference and cls.__doc__
    assert cls.variants and all(cls.sampler_with(4, **v) for v in cls.variants.values())
