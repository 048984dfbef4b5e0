"""What the network learns of a noise process: unit vectors, a rising schedule, and each its own gradient."""

from __future__ import annotations

import math

import pytest
import torch
from networks import FAMILIES, V, tiny, tokens
from torch import Tensor

from isodiff.families.gaussian import CLEAN, PACE, Gaussian
from isodiff.network.attention import Full
from isodiff.network.latent import LearnedLatent
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.network.view import Vectors, View, latent_of
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
ONCE = Gaussian(vocab_size=V, embedding_width=4, self_conditioning=False)
TWICE = Gaussian(vocab_size=V, embedding_width=4)
BATCH, LENGTH = 16, 5


def learned(model: Transformer) -> LearnedLatent:
    assert isinstance(model.latent, LearnedLatent)
    return model.latent


def rows(part: range | None = None) -> Rows:
    return Rows.of(stream(0, "latent"), BATCH, part)


def bent() -> LearnedLatent:
    latent = LearnedLatent(V, Vectors(width=4, shown=4))
    with torch.no_grad():
        for parameter in latent.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=stream(0)))
    return latent


def test_untrained_schedule_is_a_straight_line() -> None:
    latent, t = LearnedLatent(V, Vectors(width=4, shown=4)), torch.linspace(0, 1, 101)
    share, slope = latent.progress(t)
    torch.testing.assert_close(share, t)
    torch.testing.assert_close(slope, torch.ones(101))
    assert [end.item() for end in latent.ends()] == [-3.0, 6.0]
    fixed = LearnedLatent(V, Vectors(width=4, shown=4, learned_table=False, learned_schedule=False))
    assert [end.item() for end in fixed.ends()] == [-3.0, 6.0]
    assert torch.equal(fixed.progress(t)[0], t)
    assert not list(fixed.parameters()) and not fixed.state_dict()


def test_a_bent_schedule_rises_from_end_to_end_and_knows_its_slope() -> None:
    latent = bent()
    ends = latent.progress(torch.tensor([0.0, 1.0]))[0]
    torch.testing.assert_close(ends, torch.tensor([0.0, 1.0]))
    t = (torch.arange(3200) + 0.5) / 3200
    (share, slope), h = latent.progress(t), 1e-5
    assert bool((share.diff() > 0).all())
    torch.testing.assert_close((latent.progress(t + h)[0] - share) / h, slope, rtol=1e-7, atol=1e-9)
    with torch.no_grad():
        latent.bounds.copy_(torch.tensor([100.0, -100.0]))
    low, high = latent.ends()
    assert low < high


def test_near_the_start_each_bound_moves_its_own_end() -> None:
    latent = LearnedLatent(V, Vectors(width=4, shown=4))
    for end, want in zip(latent.ends(), ([1.0, 0.0], [0.0, 1.0]), strict=True):
        (slope,) = torch.autograd.grad(end, latent.bounds)
        torch.testing.assert_close(slope, torch.tensor(want))


def test_vectors_have_length_one_whatever_the_parameters() -> None:
    torch.testing.assert_close(bent().table().norm(dim=-1), torch.ones(V))


def test_the_schedule_is_computed_in_float64_whatever_surrounds_it() -> None:
    torch.set_default_dtype(torch.float32)
    latent = LearnedLatent(V, Vectors(width=4, shown=4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for value in (*latent.ends(), *latent.progress(torch.rand(3))):
            assert value.dtype == torch.float64


def test_a_network_without_vectors_says_so() -> None:
    with pytest.raises(TypeError, match="was made without vectors"):
        latent_of(tiny(FAMILIES["masked"]))


def distances(model: Transformer, x: Tensor) -> Tensor:
    """(rate - log V / 2)^2 of each sequence of a training batch that is not at t = 0, with its weight."""
    rng = rows()
    u, noise = rng.strata(), rng.normal(LENGTH, 4)
    t = ((u - CLEAN) / (1 - CLEAN)).clamp_min(1e-9)
    rate = ONCE.nats(model, x, t, noise, torch.zeros_like(x).bool(), twice=False).mean(-1)
    return ((rate - math.log(V) / 2).square() / (1 - CLEAN)).where(u >= CLEAN, 0)


def slopes(value, parameter: Tensor, h: float = 1e-5) -> Tensor:
    """Central differences."""
    out = torch.zeros_like(parameter)
    for i in range(len(parameter)):
        ends = []
        for step in (h, -h):
            with torch.no_grad():
                parameter[i] += step
                ends.append(value())
                parameter[i] -= step
        out[i] = (ends[0] - ends[1]) / (2 * h)
    return out


def test_the_path_follows_the_spread_of_the_loss_and_the_ends_the_bound() -> None:
    model, x = tiny(ONCE), tokens(BATCH, LENGTH)
    latent = learned(model)
    ONCE.loss(model, x, rng=rows()).sum().backward()

    def spread() -> float:
        return float(PACE * LENGTH * distances(model, x).sum())

    def bound() -> float:
        return float(ONCE.loss(model, x, rng=rows()).sum())

    torch.testing.assert_close(latent.pace.grad, slopes(spread, latent.pace), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(
        latent.bounds.grad, slopes(bound, latent.bounds), rtol=1e-5, atol=1e-6
    )
    raw, moved = latent.raw.flatten(), latent.raw.grad.flatten()[:3]
    torch.testing.assert_close(moved, slopes(bound, raw)[:3], rtol=1e-4, atol=1e-6)


def untrained(vocab_size: int, width: int) -> tuple[Gaussian, Transformer]:
    """Its head is zero, so it predicts from each position's own evidence: exact for uniform tokens."""
    family = Gaussian(vocab_size=vocab_size, embedding_width=width)
    model = Transformer(
        vocab_size=vocab_size,
        num_states=vocab_size,
        shape=Shape(depth=1, width=8, heads=1),
        backbone=Backbone(),
        timed=True,
        vectors=family.vectors,
    )
    return family, model


def estimates(family: Gaussian, model: Transformer, num: int, length: int = 32) -> Tensor:
    """Bounds of uniformly random texts, nats per token."""
    x = tokens(num, length, family.vocab_size)
    with torch.no_grad():
        nats = family.nelbo(model, x, rng=Rows.of(stream(9), num)).nats
    return nats / length


@pytest.mark.parametrize(("vocab_size", "width"), [(8, 4), (64, 16)])
def test_an_untrained_network_pays_log_v_for_uniform_tokens(vocab_size: int, width: int) -> None:
    """Prior, reconstruction and diffusion add up to the entropy, whatever vectors and schedule."""
    torch.manual_seed(0)
    family, model = untrained(vocab_size, width)
    prior = float(family.prior_nats(model).detach())
    for _ in range(2):
        nats = estimates(family, model, 2000)
        error = float(nats.std()) / len(nats) ** 0.5
        assert math.log(vocab_size) - 4 * error < float(nats.mean())
        assert float(nats.mean()) < math.log(vocab_size) + prior + 4 * error
        with torch.no_grad():  # another schedule
            learned(model).pace.copy_(0.05 * torch.randn(32, generator=stream(1)))
            learned(model).bounds.copy_(torch.tensor([0.5, -0.5]))


def test_a_learned_path_lowers_the_spread_of_the_bound_and_not_the_bound() -> None:
    torch.manual_seed(0)
    family, model = untrained(8, 4)
    optimizer = torch.optim.Adam([learned(model).pace], lr=1e-2)
    before = estimates(family, model, 2000)
    for step in range(100):
        x, rng = tokens(32, 32, 8), Rows.of(stream(0, "path", step), 32)
        optimizer.zero_grad()
        family.loss(model, x, rng=rng).mean().backward()
        optimizer.step()
    after = estimates(family, model, 2000)
    error = math.sqrt(float(before.var() + after.var()) / len(before))
    assert abs(float(before.mean() - after.mean())) < 4 * error
    assert float(after.std()) < 0.4 * float(before.std())


def test_second_looks_teach_the_network_only() -> None:
    family = TWICE
    model, x = tiny(family), tokens(BATCH, LENGTH)
    second = range(3, BATCH, 4)
    family.loss(model, x[list(second)], rng=rows(second)).sum().backward()
    assert all(p.grad is None for p in learned(model).parameters())
    assert float(model.blocks[0].qkv.weight.grad.abs().max()) > 0
    first = range(0, BATCH, 4)
    family.loss(model, x[list(first)], rng=rows(first)).sum().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in learned(model).parameters())


def test_a_first_look_shows_nothing_and_the_second_its_estimate() -> None:
    family, seen = TWICE, []
    model, x = tiny(family), tokens(BATCH, LENGTH)

    class Watched:
        vocab_size, latent = V, model.latent

        def __call__(self, view: View):
            seen.append((view, model(view)))
            return seen[-1][1]

    family.loss(Watched(), x, rng=rows())
    (once, _), (first, answer), (second, _) = seen
    assert not once.inputs[..., 4:].any() and not first.inputs[..., 4:].any()
    assert [view.trained for view, _ in seen] == [True, False, True]
    mean = answer.log_probs().exp() @ second.table
    torch.testing.assert_close(second.inputs[..., 4:].flatten(0, 1), 2 * mean)  # sqrt(4)
    assert torch.equal(first.inputs[..., :4], second.inputs[..., :4])


def test_what_is_added_to_an_input_has_no_weight_at_first() -> None:
    family = TWICE
    model = Transformer(
        vocab_size=V,
        num_states=V,
        shape=tiny(family).shape,
        backbone=tiny(family).backbone,
        timed=True,
        vectors=family.vectors,
    )
    weight = model.embedding.weight
    assert weight[:, :4].all() and not weight[:, 4:].any()


def test_evidence_travels_with_the_positions_read() -> None:
    model, table = tiny(ONCE), learned(tiny(ONCE)).table()
    shown, evidence = torch.randn(2, 3, 8, 4, generator=stream(2))
    common = {"time": torch.full((3,), 0.4), "table": table, "evidence": evidence}
    whole = model(View(shown, torch.arange(8), Full(), **common)).log_probs()
    read = torch.tensor([17, 3, 11])
    with torch.no_grad():
        few = model(View(shown, torch.arange(8), Full(), read=read, **common)).log_probs()
    torch.testing.assert_close(few, whole[read].detach(), rtol=1e-11, atol=1e-12)


def test_evidence_is_added_in_float32_under_autocast() -> None:
    """Logits 20 <z, e> in bfloat16 would be off by 0.1."""
    torch.set_default_dtype(torch.float32)
    model = tiny(ONCE)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
    table = learned(model).table()
    evidence = 20 * torch.randn(2, 3, 4, generator=stream(1))
    view = View(
        evidence,
        torch.arange(3),
        Full(),
        time=torch.tensor([0.1, 0.1]),
        table=table,
        evidence=evidence,
    )
    x = torch.zeros(6, dtype=torch.long)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        nats, mean = model(view).nats_and_mean(x, table)
    log_p = (evidence.flatten(0, 1) @ table.T).log_softmax(-1)
    torch.testing.assert_close(nats, -log_p[:, 0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mean, log_p.exp() @ table, rtol=1e-5, atol=1e-5)
