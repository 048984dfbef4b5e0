"""Samplers beside plain ancestral sampling: their laws, by frequencies against enumeration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from laws import ancestral_law, clean, corrected_law
from oracle import LeaveOneOut, Optimal
from random_network import random_transformer
from test_sampler_frequencies import DRAWS, TOY, L, V, law_of, p_value

from isodiff.errors import InputError
from isodiff.families.autoregressive import Autoregressive, AutoregressiveSampler
from isodiff.families.base import UNDECIDED, Family, Sampler, undecided
from isodiff.families.confidence import sureness
from isodiff.families.hybrid import Hybrid, HybridSampler
from isodiff.families.interpolating import Interpolating, InterpolatingSampler
from isodiff.families.masked import Masked, MaskedSampler
from isodiff.families.sampling import sample
from isodiff.families.uniform import Uniform, UniformSampler, likeliest
from isodiff.network.view import Denoiser, LogProbTable, View
from isodiff.process.categorical import UniformState
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
MASKED, UNIFORM = Masked(vocab_size=V), Uniform(vocab_size=V)
HYBRID = Hybrid(vocab_size=V, p_u=0.3)
TRUTH = TOY.p.flatten()


def rows(*purpose: str | int) -> Rows:
    return Rows.of(stream(1, *purpose), DRAWS)


@pytest.mark.parametrize(
    "sampler",
    [
        MaskedSampler(steps=None),
        MaskedSampler(steps=None, block=1),
        MaskedSampler(steps=6, block=1),
        MaskedSampler(steps=None, order="confidence"),
        MaskedSampler(steps=None, order="probability"),
        MaskedSampler(steps=2 * L, order="left_to_right"),
        MaskedSampler(steps=4, order="entropy", block=2),
        MaskedSampler(steps=L, order="margin"),
    ],
    ids=str,
)
def test_one_token_at_a_time_is_exact_with_the_true_conditionals(sampler: MaskedSampler) -> None:
    """Any order that looks only at what is decided factorises p; confidence looks at the draw as well."""
    x, nfe = sample(MASKED, Optimal(TOY), undecided(DRAWS, L), sampler, rng=rows("single"))
    assert bool((nfe == L).all())
    if sampler.order == "confidence":
        assert p_value(x, TRUTH) < 1e-6  # favors likely tokens: not a sampler of p
    else:
        assert p_value(x, TRUTH) > 1e-3


def test_first_hitting_of_both_phases_is_exact() -> None:
    for alpha_0 in (1.0, 0.5, 0.0):
        family = Interpolating(vocab_size=V, alpha_0=1.0)
        sampler = InterpolatingSampler(steps=None, alpha_0=alpha_0)
        x, nfe = sample(
            family, Optimal(TOY), undecided(DRAWS, L), sampler, rng=rows("both", str(alpha_0))
        )
        assert bool((nfe == L).all())
        assert p_value(x, TRUTH) > 1e-3


@pytest.mark.parametrize("family", [MASKED, UNIFORM, Interpolating(vocab_size=V)], ids=str)
def test_infilling_draws_from_the_conditional(family) -> None:
    """Many steps, the middle token given: p(x | x_1 = 2) to first order in 1/T."""
    denoiser = LeaveOneOut(TOY) if family is UNIFORM else Optimal(TOY)
    start = undecided(DRAWS, L)
    start[:, 1] = 2
    if family is UNIFORM:
        # The oracle believes that every token may be noise, so only the given one is checked.
        x, _ = sample(family, denoiser, start, family.sampler_with(4), rng=rows("fill"))
        assert bool((x[:, 1] == 2).all())
        return
    keep = torch.zeros_like(TOY.p)
    keep[:, 2] = TOY.p[:, 2]
    x, _ = sample(family, denoiser, start, family.sampler(steps=None), rng=rows("fill"))
    assert p_value(x, keep.flatten() / keep.sum()) > 1e-3


@pytest.mark.parametrize("remask", [0.05, 0.5, 1.0])
def test_remasking_keeps_the_marginals(remask: float) -> None:
    """Many steps of remasking with the true conditionals still draw from p."""
    sampler = MaskedSampler(steps=200, remask=remask)
    x, nfe = sample(MASKED, Optimal(TOY), undecided(4000, L), sampler, rng=Rows.of(stream(5), 4000))
    assert p_value(x, TRUTH) > 1e-3
    assert float(nfe.double().mean()) > L  # tokens are decided more than once


@pytest.mark.parametrize("kappa", [0.9, 0.5])
def test_predictor_corrector_keeps_the_marginals(kappa: float) -> None:
    sampler = UniformSampler(steps=150, kappa=kappa)
    x, _ = sample(
        UNIFORM, LeaveOneOut(TOY), undecided(4000, L), sampler, rng=Rows.of(stream(6), 4000)
    )
    assert p_value(x, TRUTH) > 1e-3


@dataclass(frozen=True)
class Tempered:
    """Another denoiser's prediction at a lower temperature."""

    denoiser: Denoiser
    temperature: float
    vocab_size: int = V

    def __call__(self, view: View) -> LogProbTable:
        return LogProbTable((self.denoiser(view).log_probs() / self.temperature).log_softmax(-1))


@dataclass(frozen=True)
class Cut:
    """Another denoiser's prediction with the temperature first, then the rarer tokens cut off, normalized."""

    denoiser: Denoiser
    temperature: float = 1.0
    top_k: int = V
    top_p: float = 1.0
    min_p: float = 0.0
    vocab_size: int = V

    def __call__(self, view: View) -> LogProbTable:
        rows = []
        for p in self.denoiser(view).probs().pow(1 / self.temperature).tolist():
            ordered = sorted(p, reverse=True)
            kept = [v if v >= self.min_p * ordered[0] else 0.0 for v in ordered]
            total, before, floor = sum(kept), 0.0, 0.0
            for rank, v in enumerate(kept):
                if v and rank < self.top_k and before < self.top_p * total:
                    floor = v
                before += v
            rows.append([v if v >= floor else 0.0 for v in p])
        values = torch.tensor(rows, dtype=torch.float64)
        return LogProbTable((values / values.sum(-1, keepdim=True)).log())


CUTS = [
    {"top_k": 2},
    {"top_k": 1},
    {"top_p": 0.6},
    {"min_p": 0.4},
    {"temperature": 0.6, "min_p": 0.4},
    {"min_p": 0.2, "top_p": 0.75},
]
ORACLES: dict[str, tuple[Family, Denoiser]] = {
    "uniform": (UNIFORM, LeaveOneOut(TOY)),
    "hybrid": (HYBRID, LeaveOneOut(TOY, process=HYBRID.process)),
    "masked": (MASKED, Optimal(TOY)),
}


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("network", ["oracle", "random"])
def test_truncation_has_the_law_of_the_chain_with_cut_predictions(
    name: str, network: str, cut: dict[str, Any]
) -> None:
    """What is cut is normalized before the posterior mixes it with noise, at every step of the chain."""
    family, denoiser = ORACLES[name]
    if network == "random":
        denoiser = random_transformer(family, 3, scale=0.4)
    sampler = family.sampler_with(3, **cut)
    x, _ = sample(family, denoiser, undecided(DRAWS, L), sampler, rng=rows("cut", str(cut)))
    with torch.no_grad():
        law = law_of(family, Cut(denoiser, **cut), 3)
        whole = law_of(family, denoiser, 3)
    assert p_value(x, law.clamp_min(0)) > 1e-3
    assert float((law - whole).abs().sum()) > 0.02  # the cut is one


def hybrid_law(denoiser: Denoiser, steps: int) -> torch.Tensor:
    times = HYBRID.process.grid(torch.linspace(1, 0, steps + 1))
    return clean(ancestral_law(HYBRID.process, denoiser, L, times), V + 1, TOY)


def test_temperature_of_hybrid_noise_acts_on_the_prediction() -> None:
    denoiser = LeaveOneOut(TOY, process=HYBRID.process)
    sampler = HybridSampler(steps=3, temperature=0.5)
    x, _ = sample(HYBRID, denoiser, undecided(DRAWS, L), sampler, rng=rows("tempered"))
    assert p_value(x, hybrid_law(Tempered(denoiser, 0.5), 3)) > 1e-3
    assert p_value(x, hybrid_law(denoiser, 3)) < 1e-6


@pytest.mark.parametrize(("rounds", "changes"), [(1, 1), (2, 2), (4, 1)])
def test_self_correction_has_the_law_of_its_rounds(rounds: int, changes: int) -> None:
    """A text that a round leaves alone is final, others go on: the laws of both are enumerated."""
    denoiser = LeaveOneOut(TOY, process=HYBRID.process)
    sampler = HybridSampler(
        steps=2,
        corrections=rounds,
        changes=changes,
        correction_temperature=0.8,
        correction_noise=0.2,
    )
    x, _ = sample(HYBRID, denoiser, undecided(DRAWS, L), sampler, rng=rows("mended", rounds))
    m = 1 - float(HYBRID.process.alpha(torch.tensor(0.2)))
    final, live = torch.zeros(V**L), hybrid_law(denoiser, 2)
    before = live
    for _ in range(rounds):
        moved = torch.zeros_like(live)
        for state in range(V**L):
            one = torch.zeros_like(live)
            one[state] = live[state]
            after = corrected_law(one, denoiser, TOY, m=m, temperature=0.8, changes=changes)
            final[state] += after[state]
            after[state] = 0
            moved += after
        live = moved
    assert p_value(x, final + live) > 1e-3
    assert p_value(x, before) < 1e-6


def test_self_correction_mends_what_it_was_given_to_mend_and_stops() -> None:
    """Who is shown follows from the frames: a row goes on while it changes and has not long been stale."""
    p = torch.tensor([0.5, 0.3, 0.2]).log()

    @dataclass(frozen=True)
    class Fixed:
        vocab_size: int = V

        def __call__(self, view: View) -> LogProbTable:
            return LogProbTable(p.expand(view.num_read, V))

    start = undecided(200, 6)
    start[:, 2] = 2
    start[0] = 1  # nothing to write, nothing to mend
    sampler = HybridSampler(steps=1, corrections=30, correction_temperature=1.0, patience=2)
    with torch.no_grad():
        states = HYBRID.denoise(Fixed(), start, sampler, rng=Rows.of(stream(4), 200))
        text, *frames = [(z.clone(), rows.clone()) for z, rows in states]
    assert torch.equal(text[1], torch.arange(200) > 0)
    z, live, best = text[0], text[1], torch.full((200,), -1.0)
    stale, ends = torch.zeros(200), set()
    for after, shown in frames:
        assert torch.equal(shown, live)
        changed = after != z
        assert int(changed.sum(-1).max()) <= 1 and not bool(changed[:, 2].any())
        agreement = ((after == 0) & (start == UNDECIDED)).sum(-1) / 5
        stale = torch.where(agreement > best, 0, stale + 1)
        best, z = torch.maximum(best, agreement), after
        goes_on = live & changed.any(-1) & (stale <= 2)
        ends |= {bool(c) for c in changed.any(-1)[live & ~goes_on]}
        live = goes_on
    assert not bool(live.any()) and ends == {True, False}  # both ways to end were met


def test_the_tail_takes_the_likeliest_token() -> None:
    """One position, one step: z is uniform and tells nothing, so both tails are argmax p."""
    best = TOY.p.sum((1, 2)).argmax()
    for tail in ("posterior", "x_hat"):
        x, _ = sample(
            UNIFORM,
            LeaveOneOut(TOY),
            undecided(50, L),
            UniformSampler(steps=1, tail=tail),
            rng=Rows.of(stream(2), 50),
        )
        assert bool((x[:, 0] == best).all())


def test_the_greedy_tail_is_the_argmax_of_the_posterior() -> None:
    """Over random predictions and states, where either token may win."""
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(500, 5, generator=generator).log().mul(-1)
    p, z = p / p.sum(-1, keepdim=True), torch.randint(5, (500,), generator=generator)
    process = UniformState(5)
    for alpha in (0.05, 0.3, 0.7):
        t = torch.full((500,), 1 - alpha)
        want = process.posterior(z, p, torch.zeros(500), t).argmax(-1)
        assert torch.equal(likeliest(p, z, alpha, 5, "posterior"), want)
        assert torch.equal(likeliest(p, z, alpha, 5, "x_hat"), p.argmax(-1))
        assert 0.1 < float((want == z).double().mean()) < 1


def test_rare_tokens_are_drawn_as_often_as_they_should() -> None:
    """Unmask, then draw: 1000 steps cut no tail (float32 Gumbel loses tokens of 1e-5 altogether)."""
    v, rare = 1000, 3e-5
    p = torch.full((v,), rare, dtype=torch.float32)
    p[0] = 1 - rare * (v - 1)

    class Fixed:
        vocab_size = v

        def __call__(self, view):
            from isodiff.network.view import LogProbTable

            return LogProbTable(p.log().expand(view.num_read, v))

    x, _ = sample(
        Masked(vocab_size=v),
        Fixed(),
        undecided(400, 256),
        MaskedSampler(steps=1000),
        rng=Rows.of(stream(9), 400),
    )
    n, want = x.numel(), float(1 - p[0].double())
    z = ((x > 0).double().mean().item() - want) / (want * (1 - want) / n) ** 0.5
    assert abs(z) < 4


def test_truncation_cuts_what_it_says() -> None:
    p = torch.tensor([0.4, 0.3, 0.2, 0.1])

    def left(**options) -> list[float]:
        weights = Sampler(**options).weights(p.log())
        return [round(float(w), 6) for w in weights]

    assert left(top_k=2) == [0.4, 0.3, 0, 0]
    assert left(top_p=0.39) == [0.4, 0, 0, 0]
    assert left(top_p=0.41) == [0.4, 0.3, 0, 0]
    assert left(top_p=0.95) == [0.4, 0.3, 0.2, 0.1]
    assert left(min_p=0.5) == [0.4, 0.3, 0.2, 0]
    assert left(temperature=0.0) == [1, 0, 0, 0]
    # Of the mass that min_p leaves, 0.9; of the tempered probabilities, 0.53, 0.3, 0.13, 0.03.
    assert left(min_p=0.5, top_p=0.44) == [0.4, 0, 0, 0]
    assert left(min_p=0.5, top_p=0.45) == [0.4, 0.3, 0, 0]
    assert left(temperature=0.5, min_p=0.3) == [0.533333, 0.3, 0, 0]
    assert left(temperature=0.5, top_p=0.53) == [0.533333, 0, 0, 0]
    assert left(temperature=2.0, min_p=0.6)[2] > 0
    want = p**2 / (p**2).sum()
    torch.testing.assert_close(Sampler(temperature=0.5).weights(p.log()), want)


def test_sureness_orders_as_named() -> None:
    p = torch.tensor([[0.5, 0.5, 0.0], [0.6, 0.3, 0.1], [0.5, 0.3, 0.2]])
    drawn = torch.tensor([0, 1, 2])
    assert sureness(p, "confidence", drawn).argmax() == 0
    assert sureness(p, "probability").argmax() == 1
    assert sureness(p, "margin").argmax() == 1
    assert sureness(p, "entropy").argmax() == 0
    torch.testing.assert_close(
        sureness(p[2:], "entropy"), (p[2:] * p[2:].log()).sum(-1), rtol=1e-12, atol=0
    )


def test_a_text_ends_at_its_stop_token() -> None:
    family = Autoregressive(vocab_size=V)
    sampler = AutoregressiveSampler(stop=2)
    x, nfe = sample(
        family, Optimal(TOY, shift=1), undecided(2000, L), sampler, rng=Rows.of(stream(3), 2000)
    )
    first = (x == 2).long().argmax(1).where((x == 2).any(1), L)
    assert torch.equal(nfe, (first + 1).clamp_max(L))
    after = torch.arange(L) > first[:, None]
    assert bool((x[after] == 2).all()) and bool(after.any())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (lambda: MaskedSampler(steps=0), "steps must be at least 1, got 0"),
        (lambda: Sampler(top_p=0.0), "top_p must be more than 0, got 0.0"),
        (lambda: Sampler(temperature=-1.0), "temperature must be at least 0, got -1.0"),
        (lambda: UniformSampler(steps=None), "uniform noise needs a number of steps"),
        (lambda: MaskedSampler(steps=None, remask=0.1), "remask needs steps"),
        (lambda: Masked(vocab_size=V, d3pm_steps=0), "d3pm_steps must be at least 1, got 0"),
        (lambda: HybridSampler(steps=None), "hybrid noise needs a number of steps"),
        (lambda: HybridSampler(corrections=-1), "corrections must be at least 0"),
        (lambda: HybridSampler(changes=0), "changes must be at least 1"),
        (
            lambda: HybridSampler(correction_noise=0.0),
            "correction_noise must be more than 0, got 0.0",
        ),
        (
            lambda: HybridSampler(correction_temperature=-1.0),
            "correction_temperature must be at least 0",
        ),
        (lambda: Hybrid(vocab_size=V, p_u=0.1, shift=0.0), "give one of them"),
        (lambda: Hybrid(vocab_size=V, p_u=1.0), r"p_u must be 0 or lie in \[1e-09, 1\), got 1.0"),
        (lambda: Hybrid(vocab_size=V, shift=1000.0), "shift must lie within \\+-30, got 1000.0"),
        (lambda: Hybrid(vocab_size=V, independent_noise=0.5), "set show_time: false"),
        (
            lambda: Hybrid(vocab_size=V, independent_noise=2.0),
            "independent_noise must be at most 1",
        ),
        (
            lambda: Hybrid(vocab_size=V, shift=0.0, weighting="dynamic_as_released"),
            "dynamic_as_released is a weight of the p_u form",
        ),
    ],
)
def test_impossible_samplers_are_refused(options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        options()


def test_impossible_prompts_are_refused() -> None:
    hole_first = torch.tensor([[UNDECIDED, 1, UNDECIDED]])
    ar = Autoregressive(vocab_size=V)
    with pytest.raises(InputError, match="nothing may be given after a blank"):
        sample(ar, Optimal(TOY, shift=1), hole_first, ar.sampler(), rng=Rows.of(stream(0), 1))
    with pytest.raises(InputError, match="token numbers below 3"):
        sample(
            MASKED,
            Optimal(TOY),
            torch.tensor([[7, UNDECIDED, 0]]),
            MaskedSampler(),
            rng=Rows.of(stream(0), 1),
        )
