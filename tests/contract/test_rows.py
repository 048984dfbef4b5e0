"""Randomness belongs to the global batch: any split into rows sees the same losses."""

from __future__ import annotations

import itertools

import pytest
import torch
from networks import FAMILIES, tiny, tokens

from isodiff.families.base import UNDECIDED, Family, undecided
from isodiff.families.sampling import sample
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
TOTAL, LENGTH = 8, 6


each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def rows(part: range | None = None) -> Rows:
    return Rows.of(stream(0, "loss", 3), TOTAL, part)


@each_family
@pytest.mark.parametrize("part", [range(2, 5), range(0, 1), range(7, 8), range(0, 8, 2)], ids=str)
def test_the_loss_of_a_slice_is_the_slice_of_the_loss(family: Family, part: range) -> None:
    model, x = tiny(family), tokens(TOTAL, LENGTH)
    whole = family.loss(model, x, rng=rows())
    some = family.loss(model, x[list(part)], rng=rows(part))
    torch.testing.assert_close(some, whole[list(part)], rtol=1e-11, atol=1e-12)


@each_family
def test_the_bound_of_a_slice_is_the_slice_of_the_bound(family: Family) -> None:
    model, x = tiny(family), tokens(TOTAL, LENGTH)
    whole = family.nelbo(model, x, rng=rows())
    some = family.nelbo(model, x[2:5], rng=rows(range(2, 5)))
    torch.testing.assert_close(some.nats, whole.nats[2:5], rtol=1e-11, atol=1e-12)
    assert some.kind == family.kind


@each_family
def test_gradients_of_slices_add_up(family: Family) -> None:
    """Gradient accumulation changes nothing but rounding."""
    x = tokens(TOTAL, LENGTH)

    def gradient(parts: list[range]) -> torch.Tensor:
        model = tiny(family)
        for part in parts:
            family.loss(model, x[list(part)], rng=rows(part)).sum().backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        return torch.cat([grad.flatten() for grad in grads])

    whole, split = gradient([range(8)]), gradient([range(0, 3), range(3, 4), range(4, 8)])
    torch.testing.assert_close(split, whole, rtol=1e-9, atol=1e-10)


@each_family
def test_losses_are_reproducible_and_depend_on_the_stream(family: Family) -> None:
    model, x = tiny(family), tokens(TOTAL, LENGTH)
    once, again = (family.loss(model, x, rng=rows()) for _ in range(2))
    assert torch.equal(once, again)
    other = family.loss(model, x, rng=Rows.of(stream(0, "loss", 4), TOTAL))
    assert torch.equal(once, other) == (family.kind == "exact")


@each_family
def test_states_are_kept_apart(family: Family) -> None:
    """A film may keep every yield: none is changed afterwards, and what is decided stays decided."""
    frames, copies = [], []
    states = family.denoise(
        tiny(family), undecided(TOTAL, LENGTH), family.sampler_with(4), rng=rows()
    )
    for frame, _ in states:
        frames.append(frame)
        copies.append(frame.clone())
    assert all(torch.equal(frame, copy) for frame, copy in zip(frames, copies, strict=True))
    assert ((frames[-1] >= 0) & (frames[-1] < family.vocab_size)).all()
    if family.num_states > family.vocab_size and family.name != "hybrid":
        for before, after in itertools.pairwise(frames):
            decided = before != UNDECIDED
            assert torch.equal(before[decided], after[decided])


@each_family
@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_sequences_work(family: Family, length: int) -> None:
    model, x = tiny(family), tokens(TOTAL, length)
    assert family.loss(model, x, rng=rows()).isfinite().all()
    assert family.nelbo(model, x, rng=rows()).nats.isfinite().all()
    last, _ = sample(family, model, undecided(TOTAL, length), family.sampler_with(3), rng=rows())
    assert last.shape == (TOTAL, length)
    assert ((last >= 0) & (last < family.vocab_size)).all()
