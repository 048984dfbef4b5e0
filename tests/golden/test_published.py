"""Claim 7b: the numbers of the official implementations, in float64 (figures in the JSON files here).

duo_nelbo.json, duo_posterior.json  s-sahoo/duo and s-sahoo/scaling-dllms, arXiv 2506.10892
mdlm_loss.json                      s-sahoo/scaling-dllms, arXiv 2602.15014
bd3lm_mask.json                     kuleshov-group/bd3lms, arXiv 2503.09573
gidd.json                           dvruette/gidd, arXiv 2503.04482; its p_u is at least exp(-20)

Published schedules are alpha_t = 1 - 0.999 t, so rates in t are 0.999 of ours, which are in m.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from isodiff.families.block import BlockDiffusion
from isodiff.families.hybrid import Hybrid, Weighting
from isodiff.families.masked import Masked
from isodiff.families.uniform import rate
from isodiff.network.attention import TwoStream
from isodiff.network.view import LogProbTable, View
from isodiff.process.categorical import Absorbing, UniformState
from isodiff.process.hybrid import Peaked, divergence
from isodiff.process.schedule import Linear

pytestmark = pytest.mark.usefixtures("float64")
PUBLISHED = Linear(0.001)


def published(name: str) -> list[dict[str, Any]]:
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())


def time_of(alpha: Tensor) -> Tensor:
    return (1 - alpha) / (1 - PUBLISHED.end)


@pytest.mark.parametrize("case", published("duo_nelbo"), ids=lambda c: f"V={c['vocab_size']}")
def test_duo_bound_per_token(case: dict[str, Any]) -> None:
    log_p = torch.tensor(case["logits"]).log_softmax(-1)
    x, z = torch.tensor(case["x0"]), torch.tensor(case["z_t"])
    alpha, want = torch.tensor(case["alpha_t"]), torch.tensor(case["nelbo_per_token"])
    v = case["vocab_size"]
    m = (1 - alpha)[:, None].expand(x.shape).flatten()
    statistics = LogProbTable(log_p.flatten(0, 1)).uniform_statistics(
        v * (1 - m) / m, x.flatten(), z.flatten()
    )
    per_m = rate(*statistics, same=(x == z).flatten(), m=m, v=v).view(x.shape)
    slope = -torch.tensor(case["alpha_prime_t"])[:, None]
    torch.testing.assert_close(per_m * slope, want, rtol=1e-9, atol=1e-12)
    t = time_of(alpha)[:, None].expand(x.shape)
    generic = UniformState(v, PUBLISHED).nelbo_rate(x, log_p.exp(), z, t)
    torch.testing.assert_close(generic, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", published("duo_posterior"))
def test_duo_posterior(case: dict[str, Any]) -> None:
    z, x_hat = torch.tensor(case["z_t"]), torch.tensor(case["x_theta"])
    s, t = (time_of(torch.tensor(case[key]))[:, None] for key in ("alpha_s", "alpha_t"))
    process = UniformState(x_hat.shape[-1], PUBLISHED)
    got = process.posterior(z, x_hat, s.expand(z.shape), t.expand(z.shape))
    torch.testing.assert_close(got, torch.tensor(case["posterior"]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", published("mdlm_loss"))
def test_mdlm_loss_with_and_without_its_weight(case: dict[str, Any]) -> None:
    x, z = torch.tensor(case["x0"]), torch.tensor(case["z_t"])
    logits = torch.tensor(case["logits"])[
        ..., : case["mask_id"]
    ]  # our head has no row for the mask
    log_p, v = logits.log_softmax(-1), case["mask_id"]

    class Published:
        vocab_size = v

        def __call__(self, view: View) -> LogProbTable:
            assert torch.equal(view.inputs, z)
            return LogProbTable(log_p.flatten(0, 1)[view.read])

    family = Masked(vocab_size=v)
    nats = family.nats(Published(), x, z == v)
    torch.testing.assert_close(
        nats, torch.tensor(case["low_variance_per_token"]), rtol=1e-9, atol=0
    )
    want = torch.tensor(case["nelbo_per_token"])
    t = time_of(torch.tensor(case["alpha_t"]))[:, None].expand(x.shape)
    generic = Absorbing(v, PUBLISHED).nelbo_rate(x, log_p.exp(), z, t)
    torch.testing.assert_close(generic, want, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(nats / t, want, rtol=1e-9, atol=0)


@pytest.mark.parametrize("case", published("bd3lm_mask"), ids=lambda c: f"{c['block_size']}")
def test_block_diffusion_mask(case: dict[str, Any]) -> None:
    want = torch.tensor([[c == "1" for c in row] for row in case["rows"]])
    got = TwoStream(case["block_size"]).mask(2 * case["seq_len"], torch.device("cpu"))
    assert got is not None and torch.equal(got, want)
    # Training shows less of the same: all but the last clean block, which no other row may see.
    x = torch.zeros(1, case["seq_len"], dtype=torch.long)
    view = BlockDiffusion(vocab_size=2, block_size=case["block_size"]).view(x, x)
    n = 2 * case["seq_len"] - case["block_size"]
    shown = view.attention.mask(n, torch.device("cpu"))
    assert view.inputs.shape == (1, n) and not want[:n, n:].any()
    assert shown is not None and torch.equal(shown, want[:n, :n])


@pytest.mark.parametrize("case", published("gidd"), ids=lambda c: f"p_u={c['p_uniform']}")
def test_gidd_marginals_weights_and_losses(case: dict[str, Any]) -> None:
    """The ELBO's weights, and the released code's dynamic ones, by our weights per unit of m."""
    x, z, v = torch.tensor(case["x0"]), torch.tensor(case["z_t"]), case["mask_id"]
    log_p = torch.tensor(case["logits"])[..., :v].log_softmax(-1)
    t = torch.tensor(case["t"])[:, None].expand(x.shape)
    family = Hybrid(vocab_size=v, p_u=max(case["p_uniform"], math.exp(-20)))
    process = family.process
    assert isinstance(process, Peaked)

    def same(got: Tensor, key: str) -> None:
        torch.testing.assert_close(got, torch.tensor(case[key]), rtol=1e-9, atol=1e-15)

    same(process.marginal(one_hot(x, v).double(), t), "marginal_probs")
    _, random, mask = process.parts(t)
    moment = process.at(random + mask)
    kinds = z == x, z == v

    def weight(weighting: Weighting) -> Tensor:
        return family.process.weight(moment, *kinds, weighting) / moment.time  # per unit of t

    statistics = LogProbTable(log_p.flatten(0, 1)).uniform_statistics(
        moment.c.flatten(), x.flatten(), z.clamp_max(v - 1).flatten()
    )
    total, at_x, at_z = (value.view_as(x) for value in statistics)
    d = divergence(total, at_x, at_z, moment, *kinds)
    same(weight("elbo"), "elbo_weights")
    same(weight("dynamic_as_released"), "dynamic_loss_weights")
    same(weight("elbo") * d, "elbo_per_token")
    same(weight("dynamic_as_released") * d, "loss_per_token")
    generic = process.nelbo_rate(x, log_p.exp(), z, t)
    torch.testing.assert_close(generic, weight("elbo") * d, rtol=1e-7, atol=1e-12)
