"""Claim 3b: what each family's `nelbo` estimates is -log p(x) for the optimal denoiser, for every x.

With some tokens given, it is -log p(the free ones | those), for every x and every choice of the free ones.
The expectation is exact (outcomes.py).
"""

from __future__ import annotations

import pytest
import torch
from oracle import LeaveOneOut, Optimal
from outcomes import (
    ALL,
    L,
    V,
    X,
    autoregressive_bound,
    block_bound,
    hybrid_bound,
    hybrid_outcomes,
    interpolating_bound,
    masked_bound,
    others,
    uniform_bound,
    uniform_outcomes,
)

from isodiff.data.toy import Toy
from isodiff.errors import InputError
from isodiff.families.hybrid import Hybrid

pytestmark = pytest.mark.usefixtures("float64")
TRUE, WRONG = Toy.random(V, L, seed=0), Toy.random(V, L, seed=1)
KL = float(TRUE.p.flatten() @ (TRUE.log_p(X) - WRONG.log_p(X)))
ALPHA_0 = [1.0, 0.5, 0.25, 0.0]
HYBRIDS = {
    "hybrid-0.3": Hybrid(vocab_size=V, p_u=0.3),
    "hybrid-masks": Hybrid(vocab_size=V, p_u=0.0),
    "hybrid-shift": Hybrid(vocab_size=V, shift=1.0),
}
BOUNDS = {
    "autoregressive": lambda toy, free=ALL: autoregressive_bound(Optimal(toy, shift=1), free),
    "masked": lambda toy, free=ALL: masked_bound(Optimal(toy), free),
    "uniform": lambda toy, free=ALL: uniform_bound(
        LeaveOneOut(toy, observed=others(free)), free=free
    ),
    **{
        f"interpolating-{variant}-{a}": lambda toy, free=ALL, a=a, variant=variant: (
            interpolating_bound(Optimal(toy), a, variant, free)
        )
        for a in ALPHA_0
        for variant in ("A", "B")
    },
    **{
        f"block-{k}": lambda toy, free=ALL, k=k: block_bound(Optimal(toy), k, free)
        for k in (1, 2, 3)
    },
    **{
        name: lambda toy, free=ALL, f=f: hybrid_bound(
            f, LeaveOneOut(toy, process=f.process, observed=others(free)), free
        )
        for name, f in HYBRIDS.items()
    },
}
each_bound = pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)


@each_bound
def test_nelbo_of_the_optimal_denoiser_is_the_nll_of_every_sequence(bound) -> None:
    torch.testing.assert_close(bound(TRUE), -TRUE.log_p(X), rtol=1e-9, atol=0)


@pytest.mark.parametrize("free", [(1, 2), (2,), (0,), (0, 2), (0, 1)], ids=str)
@each_bound
def test_with_tokens_given_it_is_the_nll_of_the_others(bound, free: tuple[int, ...]) -> None:
    """What is left to right sees what is given on its left: the blocks before, and its own."""
    name = next(label for label, known in BOUNDS.items() if known is bound)
    if name == "autoregressive" and free == (0, 2):
        with pytest.raises(InputError, match="reads left to right"):
            bound(TRUE, free)
        return
    nats = torch.zeros(len(X))
    known = torch.full_like(X, V)
    known[:, list(others(free))] = X[:, list(others(free))]
    size = {"autoregressive": 1, "block": int(name[-1]) if name.startswith("block") else L}
    reach = size.get(name.split("-")[0], L)
    for place in free:  # the chain rule; what stands in later blocks is not seen
        seen = known.clone()
        seen[:, (place // reach + 1) * reach :] = V
        p = TRUE.conditional(seen, torch.full((len(X),), place))
        nats -= p.gather(1, X[:, place, None]).squeeze(1).log()
        known[:, place] = X[:, place]
    torch.testing.assert_close(bound(TRUE, free), nats, rtol=1e-9, atol=1e-12)


@each_bound
def test_gap_of_a_wrong_model_is_the_kl(bound) -> None:
    gap = float(TRUE.p.flatten() @ (bound(WRONG) + TRUE.log_p(X)))
    assert gap == pytest.approx(KL, rel=1e-8)


def test_outcomes_of_uniform_noise_have_probability_one() -> None:
    assert float(uniform_outcomes()[0].sum()) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("family", HYBRIDS.values(), ids=HYBRIDS)
def test_outcomes_of_hybrid_noise_have_probability_one(family: Hybrid) -> None:
    assert float(hybrid_outcomes(family)[0].sum()) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("family", HYBRIDS.values(), ids=HYBRIDS)
def test_with_random_tokens_the_posterior_mean_is_not_optimal(family: Hybrid) -> None:
    """E[x_i | z] counts z_i twice; under masks alone the two are the same."""
    denoiser = LeaveOneOut(TRUE, own=True, process=family.process)
    loose = float(TRUE.p.flatten() @ hybrid_bound(family, denoiser))
    assert loose > TRUE.entropy + 0.05 if family.p_u != 0 else loose < TRUE.entropy + 1e-6


def test_for_uniform_noise_the_posterior_mean_is_not_optimal() -> None:
    loose = float(TRUE.p.flatten() @ uniform_bound(LeaveOneOut(TRUE, own=True)))
    assert loose > TRUE.entropy + 0.1


@pytest.mark.parametrize("end", [0.3, 0.1, 0.01, 0.001])
def test_a_schedule_that_stops_short_pays_its_prior_term(end: float) -> None:
    """NELBO(x) + log p(x) = E[log q(z_1) / pi(z_1) | x], whose mean KL(q(z_1) || pi) is never negative."""
    like = end * torch.eye(V) + (1 - end) / V
    q_given_x = torch.stack([like[X[:, i]][:, X[:, i]] for i in range(L)]).prod(0)  # X, Z
    q = TRUE.p.flatten() @ q_given_x
    gap = uniform_bound(LeaveOneOut(TRUE), end) + TRUE.log_p(X)
    torch.testing.assert_close(gap, q_given_x @ (q * V**L).log(), rtol=1e-6, atol=1e-9)
    mean = float(TRUE.p.flatten() @ gap)
    assert 0 < mean < 20 * end**2  # it vanishes quadratically
