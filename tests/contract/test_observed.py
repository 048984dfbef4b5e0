"""Tokens that are given: never noised, never scored; and padding, which is given and hidden."""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import FAMILIES, Recorder, V, infills, samplers_of, tiny, tokens
from torch import Tensor

from isodiff.errors import InputError
from isodiff.evaluate.likelihood import likelihood
from isodiff.families.base import UNDECIDED, Family
from isodiff.families.gaussian import Gaussian, GaussianSampler
from isodiff.families.sampling import sample
from isodiff.families.uniform import Uniform
from isodiff.network.attention import Attention, BidirectionalPrefix, Causal, Full, TwoStream
from isodiff.network.padding import Padded, Unpadded
from isodiff.network.shape import Backbone
from isodiff.network.view import Replaying, View
from isodiff.process.counts import known_first
from isodiff.rng import Rows, Streams, stream

pytestmark = pytest.mark.usefixtures("float64")
TOTAL, L = 8, 9
LENGTHS = torch.tensor([9, 7, 1, 4, 9, 6, 3, 8])
PROMPTS = torch.tensor([0, 3, 1, 2, 4, 0, 3, 5])  # two rows have nothing to score
PLACE = torch.arange(L)
PADDING = LENGTHS[:, None] <= PLACE
GIVEN = (PROMPTS[:, None] > PLACE) | PADDING
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


class Cut(Rows):
    """Numbers by row and place: who asks for fewer places gets the first of the same."""

    def __init__(self, *rows: int) -> None:
        self.index = torch.tensor(rows or range(TOTAL))
        self.total, self.device = TOTAL, torch.device("cpu")
        self.calls = itertools.count()

    def __len__(self) -> int:
        return len(self.index)

    def uniform(self, *shape: int, along: int = 0) -> Tensor:
        generator = stream(0, "cut", next(self.calls))
        wide = torch.rand(TOTAL, *[16] * len(shape), generator=generator, dtype=torch.float64)
        return wide[(self.index, *(slice(size) for size in shape))]

    def strata(self) -> Tensor:
        return (self.uniform() + self.index / TOTAL) % 1

    def scattered(self, places: int) -> Tensor:
        return self.uniform(places)

    def antithetic(self, count: int | Tensor) -> Tensor:
        return 1 + (self.strata() * count).long()


def rows() -> Rows:
    return Rows.of(stream(5), TOTAL)


@each_family
def test_a_padded_row_has_the_loss_and_the_bound_that_it_has_alone(family: Family) -> None:
    model, x = tiny(family), tokens(TOTAL, L)
    padded = Padded(model, LENGTHS)
    losses = family.loss(padded, x, rng=Cut(), observed=GIVEN)
    bounds = family.nelbo(padded, x, rng=Cut(), observed=GIVEN)
    assert bounds.kind == family.kind
    for i, n in enumerate(LENGTHS.tolist()):
        one, known = x[i : i + 1, :n], GIVEN[i : i + 1, :n]
        loss = family.loss(model, one, rng=Cut(i), observed=known)
        torch.testing.assert_close(losses[i, :n], loss[0], rtol=1e-10, atol=1e-11)
        bound = family.nelbo(model, one, rng=Cut(i), observed=known).nats
        torch.testing.assert_close(bounds.nats[i], bound[0], rtol=1e-10, atol=1e-11)


@each_family
def test_a_padded_row_has_the_gradient_that_it_has_alone(family: Family) -> None:
    """So padding moves no weight, whatever tokens stand there."""
    x = tokens(TOTAL, L)

    def gradient(*batches: tuple[slice, int, Tensor | None]) -> Tensor:
        model = tiny(family)
        for rows, n, lengths in batches:
            denoiser = model if lengths is None else Padded(model, lengths)
            rng = Cut(*range(TOTAL)[rows])
            loss = family.loss(denoiser, x[rows, :n], rng=rng, observed=GIVEN[rows, :n])
            loss.sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    together = gradient((slice(None), L, LENGTHS))
    alone = gradient(*((slice(i, i + 1), n, None) for i, n in enumerate(LENGTHS.tolist())))
    assert bool(together.any())
    torch.testing.assert_close(together, alone, rtol=1e-8, atol=1e-10)


@each_family
def test_what_is_given_costs_nothing_and_the_rest_does(family: Family) -> None:
    model, x = tiny(family), tokens(TOTAL, L)
    loss = torch.stack(
        [
            family.loss(model, x, rng=Rows.of(stream(seed), TOTAL), observed=GIVEN).detach()
            for seed in range(30)
        ]
    ).mean(0)
    assert not bool(loss[GIVEN].any()) and bool((loss[~GIVEN] != 0).all())
    nothing = family.nelbo(model, x, rng=rows(), observed=GIVEN).nats[GIVEN.all(-1)]
    assert nothing.tolist() == [0.0, 0.0]


@each_family
def test_a_batch_without_a_free_token_has_no_nats(family: Family) -> None:
    model, x = tiny(family), tokens(TOTAL, L)
    everything = torch.ones_like(GIVEN)
    loss = family.loss(model, x, rng=rows(), observed=everything)
    assert not bool(loss.any())
    if loss.requires_grad:
        loss.sum().backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        assert not any(bool(grad.any()) for grad in grads)
    assert not bool(family.nelbo(model, x, rng=rows(), observed=everything).nats.any())


@each_family
def test_nothing_given_is_the_same_as_none(family: Family) -> None:
    model, x, nothing = tiny(family), tokens(TOTAL, L), torch.zeros_like(GIVEN)
    for measure in (family.loss, lambda *a, **k: family.nelbo(*a, **k).nats):
        none = measure(model, x, rng=rows())
        torch.testing.assert_close(
            measure(model, x, rng=rows(), observed=nothing), none, rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize(
    "family", [f for f in FAMILIES.values() if f.vectors is None], ids=lambda f: f.nickname
)
def test_what_is_given_is_shown_as_it_is(family: Family) -> None:
    """In every copy of it; autoregressive input stands one to the right."""
    shift = int(family.name == "autoregressive")
    x, observed = tokens(1, L).expand(TOTAL, L), GIVEN[1:2].expand(TOTAL, L)
    known, noisy = torch.where(observed[0], x[0], -1), False
    for seed in range(5):
        recorder = Recorder(tiny(family))
        family.loss(recorder, x, rng=Rows.of(stream(seed), TOTAL), observed=observed)
        family.nelbo(recorder, x, rng=Rows.of(stream(seed), TOTAL), observed=observed)
        for view in recorder.views:
            place = view.positions.expand(view.inputs.shape) - shift
            want = torch.where(place >= 0, known[place.clamp_min(0)], -1)
            assert bool(((view.inputs == want) | (want < 0)).all())
            noisy |= bool((view.inputs != x[0][place.clamp_min(0)]).any())
    assert noisy


@pytest.mark.parametrize("twice", [False, True])
def test_given_vectors_have_no_noise(twice: bool) -> None:
    """At any t, in the first look and in the second, which is shown the vector itself as the estimate."""
    family = Gaussian(vocab_size=V, embedding_width=4, self_conditioning=twice)
    recorder, x = Recorder(tiny(family)), tokens(TOTAL, L)
    family.nelbo(recorder, x, rng=rows(), observed=GIVEN)
    assert len(recorder.views) == 1 + twice
    both, latent = GIVEN.repeat(2, 1), recorder.latent
    assert latent is not None
    vector = latent.table()[x].repeat(2, 1, 1)
    for number, view in enumerate(recorder.views):
        assert view.time is not None
        m = view.time[:, None, None]
        shown = vector * (1 - m).sqrt() / ((1 - m) / 4 + m).sqrt()
        torch.testing.assert_close(view.inputs[..., :4][both], shown[both])
        assert bool((view.inputs[..., :4] != shown)[~both].all())
        if twice:
            guess = (vector * 2 if number else vector * 0)[both]
            torch.testing.assert_close(view.inputs[..., 4:][both], guess)


def test_the_prior_term_counts_what_is_free() -> None:
    family = Uniform(vocab_size=V, alpha_end=0.2)
    x, model = tokens(TOTAL, L), tiny(family)
    loss = family.loss(model, x, rng=rows(), observed=GIVEN).sum(-1)
    prior = family.nelbo(model, x, rng=rows(), observed=GIVEN).nats - loss
    torch.testing.assert_close(prior, family.process.prior_nats() * (~GIVEN).sum(-1).double())


@pytest.mark.parametrize("family", ["autoregressive"])
def test_infilling_is_refused_from_left_to_right(family: str) -> None:
    one = FAMILIES[family]
    between = torch.zeros_like(GIVEN).index_fill(1, torch.tensor([3]), True)
    with pytest.raises(
        InputError, match="autoregressive reads left to right: nothing may be given"
    ):
        one.nelbo(tiny(one), tokens(TOTAL, L), rng=rows(), observed=between)


@each_family
@settings(max_examples=12, deadline=None)
@given(st.lists(st.booleans(), min_size=L, max_size=L).filter(lambda given: len({*given}) == 2))
def test_what_samplers_refuse_likelihoods_refuse(family: Family, observed: list[bool]) -> None:
    known, x = torch.tensor([observed]), tokens(1, L)
    run = SimpleNamespace(family=family, network=tiny(family))
    try:
        start = x.masked_fill(~known, UNDECIDED)
        sample(family, run.network, start, family.sampler_with(1), rng=Streams(0, 1))
    except InputError as refused:
        with pytest.raises(InputError, match=f"^{re.escape(str(refused))}$"):
            likelihood(run, x, known)
        return
    assert bool(likelihood(run, x, known, budget=64).nats.isfinite().all())


def test_given_tokens_come_first_from_left_to_right_and_the_others_in_their_order() -> None:
    """As a sampler takes a prompt in, so that a causal network sees in training what it sees then."""
    order = torch.stack([torch.randperm(L, generator=stream(2)) for _ in range(TOTAL)])
    for got, was, observed in zip(known_first(order, GIVEN), order.tolist(), GIVEN, strict=True):
        first = observed.nonzero().squeeze(-1).tolist()
        assert got.tolist() == first + [place for place in was if place not in first]
    assert known_first(order, None) is order


PATTERNS = [
    Full(),
    Causal(),
    TwoStream(2),
    TwoStream(3, hidden=2),
    BidirectionalPrefix(Causal(), (3, 0, 9)),
]


@pytest.mark.parametrize("base", PATTERNS, ids=repr)
def test_padding_is_hidden_from_all_others(base: Attention) -> None:
    padding = torch.rand(3, 12, generator=stream(1)) < 0.4
    pattern, index = Unpadded(base, padding), torch.arange(12)
    whole = base.allowed(index[:, None], index[None, :], 12).expand(3, 12, 12)
    mask = pattern.mask(12, torch.device("cpu"))[:, 0]
    real = ~padding
    want = whole & real[:, :, None] & real[:, None, :]
    want = want | torch.eye(12, dtype=torch.bool)
    assert torch.equal(mask, want)
    assert pattern.pairs_in(3, 12) == int(want.sum())
    columns = torch.tensor([[0, 5], [11, 2], [7, 7]])
    some = pattern.allowed(columns[..., None], index, 12)
    assert torch.equal(some, want.gather(1, columns[..., None].expand(-1, -1, 12)))


@pytest.mark.parametrize("base", PATTERNS, ids=repr)
def test_few_reads_of_padded_texts_change_no_prediction(base: Attention) -> None:
    """With gradients all of the last block is made, without them only what is read."""
    model = tiny(FAMILIES["masked"])
    view = View(tokens(3, 12), torch.arange(12), base, read=torch.tensor([25, 3, 11, 0]))
    padded = Padded(model, torch.tensor([12, 5, 3]))
    with torch.no_grad():
        few = padded(view).log_probs()
    torch.testing.assert_close(few, padded(view).log_probs().detach(), rtol=1e-11, atol=1e-12)
    assert not torch.equal(few, model(view).log_probs())


def padded_prompts(family: Family) -> Tensor:
    """Prompts with nothing decided behind them; where a family fills in anywhere, padding is given."""
    x = tokens(TOTAL, L)
    undecided = PROMPTS[:, None] <= PLACE
    return x.masked_fill(undecided & ~PADDING if infills(family) else undecided, UNDECIDED)


SAMPLED = {
    label: (family, sampler)
    for name, family in FAMILIES.items()
    for label, sampler in samplers_of(name, 4).items()
    if not any(word in label for word in ("block=", "stop", "steps", "strided", "cut"))
}


@pytest.mark.parametrize(("family", "sampler"), SAMPLED.values(), ids=SAMPLED)
def test_a_padded_row_is_sampled_as_it_is_alone(family: Family, sampler) -> None:
    """With the denoiser's own cache, and with one that shows everything again."""
    # Some samplers rank positions by predictions near certainty, which are equal to rounding with the bias.
    model, prompt = tiny(family, Backbone()), padded_prompts(family)
    found = []
    for denoiser in (model, Replaying(model)):
        if denoiser is model or family.vectors is None:
            padded = Padded(denoiser, LENGTHS)
            found.append(sample(family, padded, prompt, sampler, rng=Cut())[0])
    for i, n in enumerate(LENGTHS.tolist()):
        alone, _ = sample(family, model, prompt[i : i + 1, :n], sampler, rng=Cut(i))
        for texts in found:
            assert torch.equal(texts[i, :n], alone[0])


def test_each_sequence_has_a_length() -> None:
    padded = Padded(tiny(FAMILIES["masked"]), LENGTHS)
    with pytest.raises(InputError, match="8 lengths for 3 sequences"):
        padded(View(tokens(3, L), PLACE, Full()))


def test_clamped_prompts_are_shown_without_noise() -> None:
    family = Gaussian(vocab_size=V, embedding_width=4)
    recorder, prompt = Recorder(tiny(family)), padded_prompts(family)
    texts, _ = sample(
        family, recorder, prompt, GaussianSampler(steps=4, condition="clamp"), rng=rows()
    )
    assert torch.equal(texts[prompt != UNDECIDED], prompt[prompt != UNDECIDED])
    busy, latent = (prompt == UNDECIDED).any(-1), recorder.latent
    observed, shown = prompt[busy] != UNDECIDED, prompt[busy].clamp_min(0)
    assert latent is not None and len(recorder.views) == 4
    vector = latent.table()[shown].detach()
    for number, view in enumerate(recorder.views):
        assert view.time is not None
        m = view.time[:, None, None]
        want = vector * (1 - m).sqrt() / ((1 - m) / 4 + m).sqrt()
        torch.testing.assert_close(view.inputs[..., :4][observed].detach(), want[observed].detach())
        if number:
            torch.testing.assert_close(
                view.inputs[..., 4:][observed].detach(), 2 * vector[observed]
            )
