"""Claim 7b for Gaussian noise: the formulas of igul222/plaid (arXiv 2305.18619) at random inputs, in float64.

plaid.json holds what train.py, lib/models.py and sample.py of the official code compute from a given
output of the network, line by line: input, logits, the three terms of the loss, and steps of both
samplers with score temperature and guidance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from isodiff.families.gaussian import Gaussian
from isodiff.network.view import LogProbTable, View
from isodiff.process import gaussian as process

pytestmark = pytest.mark.usefixtures("float64")
CASE: dict[str, Any] = json.loads((Path(__file__).parent / "plaid.json").read_text())


def observed(name: str) -> Tensor:
    return torch.tensor(CASE[name])


@dataclass
class Published:
    """Vectors, schedule and the network's output, as given."""

    views: list[View]

    @property
    def vocab_size(self) -> int:
        return len(CASE["matrix"])

    @property
    def latent(self) -> Published:
        return self

    def table(self) -> Tensor:
        return normalize(observed("matrix"), dim=-1)

    def ends(self) -> tuple[Tensor, Tensor]:
        return observed("gamma_0"), observed("gamma_1")

    def progress(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return observed("share"), observed("slope")

    def __call__(self, view: View) -> LogProbTable:
        assert view.evidence is not None and view.table is not None
        self.views.append(view)
        return LogProbTable(self.logits(view).flatten(0, 1).log_softmax(-1))

    @staticmethod
    def logits(view: View) -> Tensor:
        assert view.evidence is not None and view.table is not None
        return observed("output") + view.evidence @ view.table.T


def test_input_logits_and_terms_of_the_bound() -> None:
    x, t = observed("x"), observed("share")
    family = Gaussian(vocab_size=len(CASE["matrix"]), embedding_width=5, self_conditioning=False)
    denoiser = Published([])
    noise, nothing = observed("noise"), torch.zeros_like(x).bool()
    nats = family.nats(denoiser, x, t, noise, nothing, twice=False).mean(-1)
    (view,) = denoiser.views
    tolerance = {
        "rtol": 1e-7,
        "atol": 1e-7,
    }  # the official code adds 1e-8 to the length of a vector
    torch.testing.assert_close(view.inputs, observed("shown"), **tolerance)
    torch.testing.assert_close(denoiser.logits(view), observed("logits"), **tolerance)
    want = torch.cat([observed("reconstruction"), observed("diffusion")])
    torch.testing.assert_close(nats, want, **tolerance)
    torch.testing.assert_close(family.prior_nats(denoiser), observed("prior"), **tolerance)


@pytest.mark.parametrize("step", CASE["steps"], ids=lambda step: str(step["gamma_t"]))
def test_steps_with_score_temperature_and_guidance(step: dict[str, Any]) -> None:
    step = {name: torch.tensor(value) for name, value in step.items()}
    z, gamma_t, gamma_s = step["z"], step["gamma_t"], step["gamma_s"]
    x_hat = process.tempered(z, step["x_hat"], gamma_t, CASE["score_temperature"])
    x_hat = process.guided(x_hat, step["gradient"], gamma_t)
    got = process.ancestral(z, x_hat, gamma_t, gamma_s, step["noise"])
    torch.testing.assert_close(got, step["ancestral"], rtol=1e-10, atol=1e-12)
    got = process.ode_step(z, x_hat, gamma_t, gamma_s)
    torch.testing.assert_close(got, step["ddim"], rtol=1e-10, atol=1e-12)
