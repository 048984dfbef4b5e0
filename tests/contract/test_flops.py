"""Claim 10: counted FLOPs are PyTorch's FlopCounterMode, and the paper's own budget."""

from __future__ import annotations

import pytest
import torch
from networks import BACKBONES, DEFAULTS, FAMILIES, Recorder, Uninformed, tiny, tokens
from torch.utils.flop_counter import FlopCounterMode

from isodiff.cost.flops import conventions, forward_flops, training_flops
from isodiff.errors import InputError
from isodiff.families.base import Family
from isodiff.network.attention import plain_attention
from isodiff.network.shape import Backbone, Shape
from isodiff.network.view import View
from isodiff.rng import Rows, stream

BATCH, LENGTH = 4, 12
CASES = {  # every backbone for the defaults, the plain one for the examples
    f"{name}-{label}": (family, backbone)
    for name, family in FAMILIES.items()
    for label, backbone in BACKBONES.items()
    if name in DEFAULTS or label == "plain"
}


def counted(family: Family, backbone: Backbone) -> tuple[int, tuple[View, ...]]:
    """FLOPs of one loss and its backward pass, and the views shown."""
    recorder = Recorder(tiny(family, backbone))
    with FlopCounterMode(display=False) as counter:
        nats = family.loss(recorder, tokens(BATCH, LENGTH), rng=Rows.of(stream(0), BATCH))
        nats.mean().backward()
    return counter.get_total_flops(), tuple(recorder.views)


@pytest.fixture(autouse=True)
def every_score_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's counter sees nothing of a CPU's fused attention, which looks without gradients take."""
    monkeypatch.setattr("isodiff.network.transformer_block.attend", plain_attention)


@pytest.mark.parametrize(("family", "backbone"), CASES.values(), ids=CASES)
def test_dense_count_is_the_flop_counter(family: Family, backbone: Backbone) -> None:
    if family.vectors is not None and backbone.tied:
        with pytest.raises(InputError, match="a view of vectors embeds no states to tie"):
            tiny(family, backbone)
        return
    measured, views = counted(family, backbone)
    timed, v = family.time_conditioned, family.vocab_size
    shape = Shape(depth=2, width=8, heads=2)
    exact, dense = training_flops(views, shape=shape, backbone=backbone, vocab_size=v, timed=timed)
    assert dense == measured
    pairs = 0
    for w in views:
        batch, n = w.inputs.shape[:2]
        left_out = batch * n * n - w.attention.pairs_in(batch, n)
        pairs += (3 if w.trained else 1) * left_out
    assert dense - exact == 4 * shape.depth * shape.width * pairs
    if family not in VARYING:  # as many reads and pairs at every step
        planned = family.training_views(BATCH, LENGTH)
        assert [w.num_read for w in planned] == [w.num_read for w in views]
        plan = training_flops(planned, shape=shape, backbone=backbone, vocab_size=v, timed=timed)
        assert plan == (exact, dense)


def shown(family: Family, step: int, batch: int, length: int) -> list[tuple[int, int]]:
    """Reads and attended pairs of every view of one loss."""
    denoiser = Uninformed(tiny(family, depth=1).latent if family.vectors else None)
    family.loss(denoiser, tokens(batch, length), rng=Rows.of(stream(step), batch))
    return [reads_and_pairs(view) for view in denoiser.views]


def reads_and_pairs(view: View) -> tuple[int, int]:
    return view.num_read, view.attention.pairs_in(*view.inputs.shape[:2])


VARYING = {
    family: name
    for name, family in FAMILIES.items()
    if len({str(shown(family, step, BATCH, LENGTH)) for step in range(4)}) > 1
}


@pytest.mark.parametrize("family", VARYING, ids=VARYING.values())
def test_planned_reads_and_pairs_are_the_means_of_those_shown(family: Family) -> None:
    """Where the number of masks varies from step to step. Pairs to the nearest clean token."""
    batch, length = 64, 40
    found = [shown(family, step, batch, length) for step in range(200)]
    mean = torch.tensor(found, dtype=torch.float64).mean(0)
    planned = [reads_and_pairs(view) for view in family.training_views(batch, length)]
    reads, pairs = (mean - torch.tensor(planned)).abs().unbind(-1)
    assert reads.max() <= 2
    assert bool((pairs <= 0.02 * mean[:, 1]).all())


def test_where_the_number_of_masks_is_drawn_it_varies() -> None:
    varying = {"interpolating-0.5", "interpolating-A", "interpolating-A-0.5", "block-clipped"}
    assert varying == {
        n for n in VARYING.values() if n in varying or n.startswith(("inter", "block"))
    }


def test_a_causal_view_attends_to_half_the_pairs() -> None:
    (view,) = FAMILIES["autoregressive"].training_views(1, 1024)
    part = forward_flops(
        view, shape=Shape(depth=2, width=8, heads=2), backbone=Backbone(), vocab_size=7, timed=False
    )
    assert part.dense_attention * 1025 == part.attention * 2048


@pytest.mark.parametrize(
    ("name", "forward"),
    [("6M", 5.3026e10), ("113M", 4.4941e11), ("336M", 1.1669e12), ("2121M", 6.8054e12)],
)
def test_budget_of_the_paper(name: str, forward: float) -> None:
    """arXiv 2602.15014 measures a forward of one sequence (L = 2048, V = 32001) and triples it."""
    got = conventions(
        exact=0.0,
        tokens=2048,
        shape=Shape.parse(name),
        backbone=Backbone(adaln=True, mlp="gelu_tanh"),
        vocab_size=32001,
        non_embedding=10,
    )
    assert got["no_attention"] == pytest.approx(3 * forward, rel=3e-3)
    assert got["6ND"] == 6 * 2048 * 10
