"""What is exact says so, and nothing else does: frequencies of samplers, sums over all texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from random_network import random_transformer
from rough import Rough, scores
from test_sampler_frequencies import p_value

from isodiff.data.tokenizer import Bytes
from isodiff.data.toy import Toy
from isodiff.errors import InputError
from isodiff.evaluate.reference_model import RunReference, TokenizedText
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.base import Family, undecided
from isodiff.families.block import BlockDiffusion
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.families.sampling import sample
from isodiff.rng import Rows, stream

V, L, DRAWS = 3, 4, 10_000
TOY = Toy.random(V, L, seed=0)
X = TOY.sequences


def exact(v: int) -> dict[str, Family]:
    return {
        "autoregressive": Autoregressive(vocab_size=v),
        "interpolating": Interpolating(vocab_size=v, alpha_0=0.0),
        "interpolating A": Interpolating(vocab_size=v, alpha_0=0.0, variant="A", objective="nelbo"),
        "block": BlockDiffusion(vocab_size=v, block_size=1),
        "clipped": BlockDiffusion(vocab_size=v, block_size=1, low=0.3, high=0.8),
    }


BOUNDS = [
    Masked(vocab_size=V),
    Interpolating(vocab_size=V, alpha_0=1e-6),
    Interpolating(vocab_size=V),
    BlockDiffusion(vocab_size=V, block_size=2),
]


@pytest.mark.parametrize("name", exact(V))
@pytest.mark.parametrize("seed", [1, 2])
def test_exact_likelihoods_are_those_of_the_sampler(name: str, seed: int) -> None:
    family = exact(V)[name]
    network = random_transformer(family, seed)
    found = scores(family, network, X)
    assert (family.kind, found.kind, found.protocol) == ("exact", "exact", "one pass, seed 0")
    assert found.num_forwards.unique().tolist() == [1] and not bool(found.se.any())
    p = (-found.nats).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)
    rng = Rows.of(stream(0, name, seed), DRAWS)
    sampler = family.sampler_with(1)
    x, _ = sample(family, network, undecided(DRAWS, L), sampler, rng=rng)
    assert p_value(x, p) > 1e-3
    said = scores(family, network, X, method="exact").nats
    assert torch.equal(said, found.nats)


@pytest.mark.parametrize("family", BOUNDS, ids=str)
def test_bounds_are_called_bounds(family: Family) -> None:
    network = random_transformer(family)
    assert family.kind == "bound" and scores(family, network, X[:2]).kind == "bound"
    with pytest.raises(InputError, match="has a bound"):
        scores(family, network, X[:2], method="exact")


@pytest.mark.parametrize("method", ["auto", "enumeration", "mask_counts", "block_chain:2"])
@pytest.mark.parametrize("family", [BOUNDS[0], BOUNDS[3]], ids=["masked", "block"])
def test_one_token_to_score_is_exact_by_every_method(family: Family, method: str) -> None:
    """No order to average over; with two tokens of a block in one of the texts it is a bound again."""
    if method != "auto" or family is BOUNDS[0]:
        one = torch.ones(3, L, dtype=torch.bool)
        one[:, -1] = False
        found = scores(family, Rough(TOY), X[:3], observed=one, method=method)
        assert found.kind == "exact" and not bool(found.se.any())
        token = family.nelbo(Rough(TOY), X[:3], rng=Rows.of(stream(0), 3), observed=one).nats
        torch.testing.assert_close(found.nats, token.double())
    mixed = torch.ones(3, L, dtype=torch.bool)
    mixed[:, -1] = mixed[2] = False
    for batch_size in (1, 64):
        options: dict[str, Any] = {"observed": mixed, "method": method, "batch_size": batch_size}
        assert scores(family, Rough(TOY), X[:3], **options).kind == "bound"


@pytest.mark.parametrize("name", exact(V))
def test_exact_runs_are_reference_models(name: str) -> None:
    tokenizer = Bytes()
    family = exact(tokenizer.vocab_size)[name]
    network = random_transformer(family)
    judge = RunReference("a", family, network, tokenizer, context=8)
    ids = np.array(tokenizer.encode("words"))
    found = judge.score([TokenizedText(ids, ("words",))])
    want = scores(family, network, torch.from_numpy(ids)[None]).nats
    assert found.nats.tolist() == pytest.approx(want.tolist(), rel=1e-5)
    assert found.num_tokens.tolist() == [5] and found.num_bytes.tolist() == [5]


@pytest.mark.parametrize("family", BOUNDS, ids=str)
def test_bounds_are_no_reference_models(family: Family) -> None:
    with pytest.raises(InputError, match="its likelihood is a bound"):
        RunReference("a", family, random_transformer(family), Bytes(), context=8)
