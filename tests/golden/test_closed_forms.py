"""Claim 7a: each family's closed form equals the generic integrand, at thousands of random points.

Near the ends of m the generic form loses digits, so the referee there is 50-digit arithmetic.
"""

from __future__ import annotations

import mpmath
import pytest
import torch
from torch import Tensor

from isodiff.families.hybrid import Hybrid
from isodiff.families.uniform import rate
from isodiff.network.view import LogProbTable
from isodiff.process.categorical import Absorbing, UniformState
from isodiff.process.hybrid import divergence
from isodiff.rng import stream

HYBRIDS = [{"p_u": 0.1}, {"p_u": 0.7}, {"shift": -2.0}, {"shift": 3.0}]
EXTREMES = [1e-12, 1e-9, 1e-6, 1e-3, 0.5, 1 - 1e-3, 1 - 1e-6, 1 - 1e-9, 1 - 1e-12]


def closed_form(log_p: Tensor, x: Tensor, z: Tensor, m: Tensor) -> Tensor:
    v = log_p.shape[-1]
    c = (v * (1 - m) / m).to(log_p.dtype)
    s, a, b = LogProbTable(log_p).uniform_statistics(c, x, z)
    return rate(s, a, b, same=x == z, m=m, v=v)


def points(count: int, v: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """log_p of varied sharpness, x, and z that equals x half of the time; float64."""
    rng = stream(seed, "points", v)
    sharpness = 4 * torch.rand(count, 1, generator=rng, dtype=torch.float64)
    logits = sharpness * torch.randn(count, v, generator=rng, dtype=torch.float64)
    x, other = torch.randint(v, (2, count), generator=rng)
    z = torch.where(torch.rand(count, generator=rng) < 0.5, x, other)
    return logits.log_softmax(-1), x, z


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("v", [2, 7, 33])
def test_uniform_closed_form_is_the_generic_integrand(v: int) -> None:
    log_p, x, z = points(4000, v, seed=0)
    m = 0.02 + 0.96 * torch.rand(4000, generator=stream(0, "m"))
    want = UniformState(v).nelbo_rate(x, log_p.exp(), z, m)
    torch.testing.assert_close(closed_form(log_p, x, z, m), want, rtol=1e-9, atol=1e-11)


def exact_rate(log_p: Tensor, x: int, z: int, m: float) -> mpmath.mpf:
    """Eq. (5) of process/categorical.py for alpha = 1 - m, in 50 digits."""
    with mpmath.workdps(50):
        v, m = len(log_p), mpmath.mpf(m)
        weights = [mpmath.exp(mpmath.mpf(value)) for value in log_p.tolist()]
        total = mpmath.fsum(weights)
        q = [(1 - m) * (j == x) + m / v for j in range(v)]
        q_hat = [(1 - m) * weights[j] / total + m / v for j in range(v)]
        r, r_hat = [value / q[z] for value in q], [value / q_hat[z] for value in q_hat]
        kl = mpmath.fsum(h - a + a * mpmath.log(a / h) for a, h in zip(r, r_hat, strict=True))
        return kl / (v * (1 - m))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("m", EXTREMES)
def test_uniform_closed_form_at_extreme_noise(m: float) -> None:
    """Within 1e-13 of 1 + rate, and never below zero."""
    log_p, x, z = points(24, 11, seed=1)
    got = closed_form(log_p, x, z, torch.full((24,), m))
    for i in range(24):
        want = exact_rate(log_p[i], int(x[i]), int(z[i]), m)
        scale = 1 + abs(want)
        assert abs(mpmath.mpf(float(got[i])) - want) < 1e-13 * scale, (m, i, float(got[i]), want)
        assert float(got[i]) >= 0


@pytest.mark.parametrize("m", [1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-6])
def test_float32_error_at_a_real_vocabulary(m: float) -> None:
    """V = 50257, float32 logits: within 5e-6 of the float64 value, relative to 1 + |rate|."""
    log_p, x, z = points(16, 50257, seed=2)
    noise = torch.full((16,), m, dtype=torch.float64)
    want = closed_form(log_p, x, z, noise)
    got = closed_form(log_p.float(), x, z, noise)
    assert got.dtype == torch.float32
    error = (got.double() - want).abs() / (1 + want.abs())
    assert float(error.max()) < 5e-6, float(error.max())


@pytest.mark.usefixtures("float64")
def test_masked_weight_is_the_generic_integrand() -> None:
    """(1/m) times the nats of a mask, nothing for a visible token."""
    v, count = 7, 4000
    log_p, x, _ = points(count, v, seed=3)
    m = 1e-6 + (1 - 1e-6) * torch.rand(count, generator=stream(3, "m"))
    masked = torch.rand(count, generator=stream(3, "masked")) < 0.5
    z = x.masked_fill(masked, v)
    want = torch.where(masked, LogProbTable(log_p).nats(x) / m, 0)
    got = Absorbing(v).nelbo_rate(x, log_p.exp(), z, m)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_uniform_rate_of_the_uniform_prediction_integrates_to_log_v() -> None:
    """A model that knows nothing pays log V per token: by quadrature over m and both cases of z."""
    v, n = 50, 4001
    u = torch.linspace(-3.2, 3.2, n, dtype=torch.float64)
    m = torch.sigmoid(torch.pi * u.sinh())
    dm = (u[1] - u[0]) * torch.pi * u.cosh() * m * torch.sigmoid(-torch.pi * u.sinh())
    keep = m < 1
    m, dm = m[keep], dm[keep]
    log_p = torch.full((len(m), v), 1 / v, dtype=torch.float64).log()
    zeros = torch.zeros(len(m), dtype=torch.long)
    same, other = closed_form(log_p, zeros, zeros, m), closed_form(log_p, zeros, zeros + 1, m)
    chance = m * (v - 1) / v
    total = float((dm * ((1 - chance) * same + chance * other)).sum())
    assert total == pytest.approx(float(torch.tensor(float(v)).log()), rel=1e-6)


def hybrid_form(family: Hybrid, log_p: Tensor, x: Tensor, z: Tensor, m: Tensor) -> Tensor:
    """w D per unit of m, from the three statistics."""
    moment, v = family.process.at(m[None]), log_p.shape[-1]
    same, masked = (z == x)[None], (z == v)[None]
    c = moment.c[0].to(log_p.dtype)
    s, a, b = LogProbTable(log_p).uniform_statistics(c, x, z.clamp_max(v - 1))
    d = divergence(s[None], a[None], b[None], moment, same, masked)
    return (family.process.weight(moment, same, masked, "elbo") * d)[0]


def hybrid_points(count: int, v: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same points, a third of them masked."""
    log_p, x, z = points(count, v, seed)
    return log_p, x, z.masked_fill(torch.rand(count, generator=stream(seed, "mask")) < 1 / 3, v)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("options", HYBRIDS, ids=str)
@pytest.mark.parametrize("v", [2, 33])
def test_hybrid_closed_form_is_the_generic_integrand(v: int, options: dict[str, float]) -> None:
    family = Hybrid(vocab_size=v, **options)
    log_p, x, z = hybrid_points(4000, v, seed=0)
    t = 0.02 + 0.96 * torch.rand(4000, generator=stream(0, "t"))
    _, random, mask = family.process.parts(t)
    got = hybrid_form(family, log_p, x, z, random + mask)
    per_t = got / family.process.at(random + mask).time
    want = family.process.nelbo_rate(x, log_p.exp(), z, t)
    torch.testing.assert_close(per_t, want, rtol=1e-9, atol=1e-11)


def random_noise(options: dict[str, float], m: mpmath.mpf) -> mpmath.mpf:
    """Probability of a random token where clean ones have 1 - m, by the definition of either form."""
    alpha = 1 - m
    if "shift" in options:
        return m / (1 + mpmath.exp(-options["shift"]) * m / alpha)
    b = 2 * mpmath.mpf(options["p_u"]) / (1 - mpmath.mpf(options["p_u"]))
    odds = (mpmath.sqrt(b**2 + 4 * m / alpha) - b) / 2
    return b * odds * alpha


def exact_hybrid_rate(
    options: dict[str, float], log_p: Tensor, x: int, z: int, m: float
) -> mpmath.mpf:
    """Eq. (5) of process/categorical.py with rho = alpha (nu / alpha)', in 60 digits."""
    with mpmath.workdps(60):
        v, m = len(log_p), mpmath.mpf(m)
        weights = [mpmath.exp(mpmath.mpf(value)) for value in log_p.tolist()]
        total = mpmath.fsum(weights)

        def nu(m: mpmath.mpf) -> mpmath.mpf:
            random = random_noise(options, m)
            return m - random if z == v else random / v

        rho = (1 - m) * mpmath.diff(
            lambda at: nu(at) / (1 - at), m, h=m * (1 - m) * mpmath.mpf("1e-20")
        )
        random = random_noise(options, m)
        q = [(1 - m) * (j == x) + random / v for j in range(v)] + [m - random]
        q_hat = [(1 - m) * w / total + random / v for w in weights] + [m - random]
        r, r_hat = [value / q[z] for value in q], [value / q_hat[z] for value in q_hat]
        return rho * mpmath.fsum(
            h - a + a * mpmath.log(a / h) for a, h in zip(r, r_hat, strict=True)
        )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("options", HYBRIDS, ids=str)
@pytest.mark.parametrize("m", EXTREMES)
def test_hybrid_closed_form_at_extreme_noise(m: float, options: dict[str, float]) -> None:
    """Within 1e-10 of 1 + rate (1e-14 but for m -> 1 with p_u), and never below zero."""
    log_p, x, z = hybrid_points(18, 11, seed=1)
    got = hybrid_form(Hybrid(vocab_size=11, **options), log_p, x, z, torch.full((18,), m))
    for i in range(18):
        want = exact_hybrid_rate(options, log_p[i], int(x[i]), int(z[i]), m)
        scale = 1 + abs(want)
        assert abs(mpmath.mpf(float(got[i])) - want) < 1e-10 * scale, (m, i, float(got[i]), want)
        assert float(got[i]) >= 0


@pytest.mark.parametrize("options", HYBRIDS, ids=str)
@pytest.mark.parametrize("m", [1e-6, 1e-3, 0.5, 0.999, 1 - 1e-6])
def test_hybrid_float32_error_at_a_real_vocabulary(m: float, options: dict[str, float]) -> None:
    """V = 50257, float32 logits: within 2e-5 of the float64 value, relative to 1 + |rate|."""
    family = Hybrid(vocab_size=50257, **options)
    log_p, x, z = hybrid_points(16, 50257, seed=2)
    noise = torch.full((16,), m, dtype=torch.float64)
    want = hybrid_form(family, log_p, x, z, noise)
    got = hybrid_form(family, log_p.float(), x, z, noise)
    error = (got - want).abs() / (1 + want.abs())
    assert float(error.max()) < 2e-5, float(error.max())
