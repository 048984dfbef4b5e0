"""The interpolating family has two laws, each with its bound: enumerated, on small random transformers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from rough import scores, trials
from test_sampler_frequencies import p_value
from torch import Tensor

from isodiff.errors import InputError
from isodiff.evaluate.likelihood import likelihood
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.base import Family, undecided
from isodiff.families.interpolating import Interpolating, InterpolatingSampler
from isodiff.families.masked import Masked
from isodiff.families.sampling import sample
from isodiff.network.attention import Causal
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.network.view import LogProbTable, View
from isodiff.rng import Streams, stream

pytestmark = pytest.mark.usefixtures("float64")
V, L, MASK = 2, 3, 2
X = torch.cartesian_prod(*[torch.arange(V)] * L)
ALPHAS = (1.0, 0.5, 0.0)
each_share = pytest.mark.parametrize("alpha_0", ALPHAS)


def random_network(seed: int) -> Transformer:
    model = Transformer(
        vocab_size=V,
        num_states=V + 1,
        shape=Shape(depth=2, width=8, heads=2),
        backbone=Backbone(),
        timed=False,
    ).double()
    rng = stream(seed, "any order")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return model.eval()


@cache
def family(alpha_0: float) -> Interpolating:
    return Interpolating(vocab_size=V, alpha_0=alpha_0)


def orders(alpha_0: float) -> Iterator[tuple[float, tuple[int, ...], int]]:
    """Chance, order of the tokens and how many are diffused: any of them, in any order, then the others."""
    for size in range(L + 1):
        chance = alpha_0**size * (1 - alpha_0) ** (L - size) / math.factorial(size)
        for first in itertools.permutations(range(L), size) if chance else ():
            yield chance, (*first, *sorted({*range(L)} - {*first})), size


def nats(model: Transformer, shown: tuple[int, ...], masks: tuple[int, ...], at: int) -> Tensor:
    """-log p(x_at | the tokens `shown` in this order, then these masks, `at` among them), of every text."""
    inputs = torch.cat([X[:, shown], torch.full((len(X), len(masks)), MASK)], 1)
    view = View(inputs, torch.tensor((*shown, *masks)), Causal())
    with torch.no_grad():
        log_p = model(view).log_probs().view(len(X), -1, V)
    return -log_p[:, len(shown) + masks.index(at)].gather(1, X[:, [at]]).squeeze(1)


def by_order(model: Transformer, alpha_0: float) -> tuple[Tensor, Tensor]:
    """Chance of every order, and -log p(x | order) of the sampler that shows the mask it decides."""
    chances, found = [], []
    for chance, order, _ in orders(alpha_0):
        chances.append(chance)
        each = [nats(model, order[:j], (order[j],), order[j]) for j in range(L)]
        found.append(torch.stack(each).sum(0))
    return torch.tensor(chances), torch.stack(found)


def bounds(model: Transformer, alpha_0: float, most: int) -> list[Tensor]:
    """E[-log of the mean likelihood of K orders] for K = 1, 2, .. and, last, -log p(x)."""
    chance, each = by_order(model, alpha_0)
    found = []
    for size in range(1, most + 1):
        picked = torch.cartesian_prod(*[torch.arange(len(chance))] * size).view(-1, size)
        mixed = math.log(size) - (-each[picked]).logsumexp(1)
        found.append(chance[picked].prod(1) @ mixed)
    return [*found, -(chance.log()[:, None] - each).logsumexp(0)]


def law_of_all_masks(model: Transformer, alpha_0: float) -> tuple[Tensor, Tensor]:
    """The law that shows all masks left, in random order, as long as it diffuses; and its bound, in nats."""
    total, bound = torch.zeros(len(X)), torch.zeros(len(X))
    for chance, order, size in orders(alpha_0):
        p, cost = torch.ones(len(X)), torch.zeros(len(X))
        for j, at in enumerate(order):
            masks = [*itertools.permutations(order[j:])] if j < size else [(at,)]
            each = torch.stack([nats(model, order[:j], some, at) for some in masks])
            p, cost = p * (-each).exp().mean(0), cost + each.mean(0)
        total, bound = total + chance * p, bound + chance * cost
    return -total.log(), bound


def sampled_law(model: Transformer, alpha_0: float) -> Tensor:
    return (-bounds(model, alpha_0, 0)[0]).exp()


@each_share
@pytest.mark.parametrize("seed", range(3))
def test_the_bound_falls_with_the_orders_to_the_sampler_s_law(seed: int, alpha_0: float) -> None:
    model = random_network(seed)
    *found, truth = bounds(model, alpha_0, 3)
    assert float((-truth).exp().sum()) == pytest.approx(1, abs=1e-12)
    for looser, tighter in itertools.pairwise([*found, truth]):
        assert bool((looser >= tighter - 1e-12).all())
        assert bool((looser > tighter + 1e-6).all()) == (alpha_0 > 0)


@each_share
def test_each_number_bounds_its_own_law(alpha_0: float) -> None:
    """The NELBO not that of the cached sampler: on 20 random networks it lies below -log p of some texts."""
    below = 0
    for seed in range(20 if alpha_0 == 1 else 3):
        model = random_network(seed)
        law, bound = law_of_all_masks(model, alpha_0)
        assert float((-law).exp().sum()) == pytest.approx(1, abs=1e-12)
        assert bool((bound >= law - 1e-12).all())
        cached = bounds(model, alpha_0, 1)
        assert bool((cached[0] >= cached[1] - 1e-12).all())
        below += bool((bound < cached[1] - 1e-3).any())
        if not alpha_0:
            torch.testing.assert_close(bound, cached[1])
    assert below >= 5 if alpha_0 == 1 else alpha_0 or not below
    found = trials(family(alpha_0), model, X[3:4], num=400, budget=64)
    assert ("all masks left" in found.protocol) == (alpha_0 > 0)
    error = float(found.nats.std()) / 20 + 1e-12
    assert abs(float(found.nats.mean() - bound[3])) < 4 * error


@each_share
def test_the_shipped_sampler_has_this_law(alpha_0: float) -> None:
    model, start = random_network(1), undecided(6000, L)
    rng = Streams(0, len(start))
    x, nfe = sample(family(alpha_0), model, start, InterpolatingSampler(steps=None), rng=rng)
    assert nfe.unique().tolist() == [L]
    assert p_value(x, sampled_law(model, alpha_0), V) > 1e-3


@each_share
@pytest.mark.parametrize("orders", [1, 2, 3])
def test_estimates_are_unbiased_with_honest_errors(alpha_0: float, orders: int) -> None:
    model = random_network(2)
    *_, truth, _ = bounds(model, alpha_0, orders)
    for row in (1, 6):
        found = trials(family(alpha_0), model, X[[row]], 500, method=f"any_order:{orders}")
        rounds = max(4, 8 // orders)
        assert found.num_forwards.unique().tolist() == [rounds * orders]
        assert found.kind == ("bound" if alpha_0 else "exact")
        error = float(found.nats.std()) / 500**0.5
        assert abs(float(found.nats.mean() - truth[row])) < 4 * error + 1e-12
        spread = float(found.nats.var())
        assert float(found.se.square().mean()) == pytest.approx(spread, rel=0.25, abs=1e-12)


def test_many_orders_are_the_sampler_s_likelihood() -> None:
    model = random_network(0)
    found = scores(family(1.0), model, X, method="any_order:1000")
    truth = bounds(model, 1.0, 0)[0]
    assert bool(((found.nats - truth).abs() < 5 * found.se + 2e-3).all())
    assert float(found.se.max()) < 0.05


class ByPlace:
    """Predicts each token by its place alone: every order says the same."""

    vocab_size = V

    def __call__(self, view: View) -> LogProbTable:
        place = view.positions.expand(view.inputs.shape).flatten()
        place = place if view.read is None else place[view.read]
        return LogProbTable(torch.tensor([[0.1, 0.9], [0.5, 0.5], [0.7, 0.3]]).log()[place])


@pytest.mark.parametrize("method", ["any_order", "any_order:5"])
def test_where_the_order_does_not_matter_the_bound_is_the_likelihood(method: str) -> None:
    found = scores(family(1.0), ByPlace(), X, method=method)
    assert float(found.se.max()) < 1e-9
    assert float((-found.nats).exp().sum()) == pytest.approx(1, abs=1e-12)


@each_share
def test_given_tokens_come_first(alpha_0: float) -> None:
    """The bound of what the sampler writes around them, and only of that."""
    model, known = random_network(3), torch.tensor([False, True, False])
    # The right one before the left: both diffused, in this order; or the right one alone.
    right_first = alpha_0**2 / 2 + alpha_0 * (1 - alpha_0)
    truth = torch.zeros(len(X))
    for chance, (a, b) in ((1 - right_first, (0, 2)), (right_first, (2, 0))):
        truth += chance * (nats(model, (1,), (a,), a) + nats(model, (1, a), (b,), b))
    for row in (2, 5):
        found = trials(
            family(alpha_0), model, X[[row]], 400, method="any_order", observed=known[None]
        )
        error = float(found.nats.std()) / 20
        assert abs(float(found.nats.mean() - truth[row])) < 4 * error + 1e-12


def test_draws_depend_on_nothing_but_text_seed_and_number() -> None:
    model = random_network(4)
    together = scores(family(1.0), model, X, method="any_order:2")
    for row in range(len(X)):
        alone = scores(family(1.0), model, X[[row]], method="any_order:2", batch_size=3)
        torch.testing.assert_close(alone.nats, together.nats[[row]])
    few = scores(family(1.0), model, X, method="any_order", budget=4)
    more = scores(family(1.0), model, X, method="any_order", budget=6)
    assert few.num_forwards.unique().tolist() == [4] and more.num_forwards.unique().tolist() == [6]
    assert not bool((few.nats == more.nats).any())
    sharp = scores(family(1.0), model, X, method="any_order", target_se=0.02)
    assert float(sharp.se.max()) <= 0.02 and sharp.num_forwards.unique().numel() > 1


@pytest.mark.parametrize(
    ("family", "method", "message"),
    [
        (Interpolating(vocab_size=V, variant="A"), "any_order", "variant B"),
        (Masked(vocab_size=V), "any_order:4", "for the interpolating family"),
        (Autoregressive(vocab_size=V), "any_order", "for the interpolating family"),
        *((family(1.0), f"any_order:{k}", "takes 1 to 4096 orders") for k in (0, 5000)),
        *((family(1.0), f"any_order:{k}", "no method") for k in ("", "-1", "x", "²", "9" * 5000)),
        (family(1.0), "any_order:40", "needs 80"),
    ],
)
def test_what_cannot_be_asked_is_refused(family: Family, method: str, message: str) -> None:
    run = SimpleNamespace(family=family, network=random_network(0))
    with pytest.raises(InputError, match=message):
        likelihood(run, X, method=method, budget=64)
    a_law = Interpolating(vocab_size=V, variant="A", alpha_0=0.0)
    assert likelihood(SimpleNamespace(family=a_law, network=run.network), X, method="any_order")
