r"""Network evaluations for a given standard error: the bound of a masked run on held-out speeches.

    python benchmarks/likelihood.py --out benchmarks/results/likelihood_cpu.json

A small masked run is trained on the embedded corpus (about a minute of one core), and windows of its test
split are scored again and again by every estimator. At equal standard error two estimators need evaluations
in the ratio of (variance of an estimate) x (its evaluations); that product is what is compared. The variance
is over replicates, within windows.

*Public, 1/t*: n values t_j = (u + j/n) mod 1 with one u, shrunk to [eps, 1]; each token is masked with
probability t; the estimate is the mean of (1/t) sum of the masked tokens' nats. eps = 1e-3 as in MDLM (arXiv
2406.07524) and Dream, 0 as in SMDM (2410.18514). *Public, counts*: LLaDA's (2502.09992): in batches of 8,
k_j = round(k + j L/8) wrapped into 1..L, L/k times the nats of k masks. *Antithetic counts*: k and L + 1 - k
in pairs, spread over the batch: how training validates here. *Noise level*: the family's integrand in strata
that learn, without control variate. *Mask counts*: what `likelihood` does. *Block chain*: another, looser
bound; its gap is given.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isodiff import likelihood, load
from isodiff.cli import main as isodiff
from isodiff.provenance import provenance
from isodiff.rng import Rows, stream
from isodiff.runs.build import Trained
from isodiff.serialization import to_json

LENGTH, WINDOWS, REPLICATES, DRAWS = 128, 4, 10, 64
Estimate = Callable[[Trained, Tensor, int], tuple[Tensor, float]]
"""Estimates of one replicate for every window, and the evaluations that each took."""


def trained(folder: Path) -> Trained:
    """The run; what is there already is not trained again."""

    def say(*words: object) -> dict[str, Any]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert isodiff([*map(str, words), "--json"]) == 0
        return json.loads(out.getvalue())

    corpus = folder / "corpus"
    if not corpus.exists():
        say("corpus", "prepare", "sotu", "--tokenizer", "bytes", "--out", corpus)
    words = ["--corpus", corpus, "--shape", "147k", "--length", LENGTH, "--budget", "2.5e12"]
    run = say("train", "masked", *words, "--threads", 1, "--out", folder / "runs")
    return load(folder / "runs" / run["id"])


def one_over_t(eps: float) -> Estimate:
    """The stratified estimator of public code."""

    def estimate(run: Trained, x: Tensor, replicate: int) -> tuple[Tensor, float]:
        rng = stream(0, "one over t", replicate)
        total = torch.zeros(len(x), dtype=torch.float64)
        for row, text in enumerate(x):
            u = torch.rand((), generator=rng, dtype=torch.float64)
            t = eps + (1 - eps) * ((u + torch.arange(DRAWS) / DRAWS) % 1)
            coins = torch.rand(DRAWS, LENGTH, generator=rng, dtype=torch.float64)
            total[row] = (nats(run, text, coins < t[:, None]).sum(-1) / t).mean()
        return total, DRAWS

    return estimate


def llada_counts(run: Trained, x: Tensor, replicate: int) -> tuple[Tensor, float]:
    """Exact counts on a grid that is rounded, 8 at a time."""
    rng, batch = stream(0, "llada", replicate), 8
    total = torch.zeros(len(x), dtype=torch.float64)
    for row, text in enumerate(x):
        for _ in range(DRAWS // batch):
            k = int(torch.randint(1, LENGTH + 1, (), generator=rng))
            grid = torch.linspace(k, k + (batch - 1) * (LENGTH / batch), batch).round().long()
            grid = (grid - 1) % LENGTH + 1
            order = torch.rand(batch, LENGTH, generator=rng, dtype=torch.float64).argsort(-1)
            found = nats(run, text, order < grid[:, None]).sum(-1)
            total[row] += (found * LENGTH / grid).sum() / DRAWS
    return total, DRAWS


def antithetic_counts(run: Trained, x: Tensor, replicate: int) -> tuple[Tensor, float]:
    """The family's own bound on a batch of counts in pairs."""
    found = []
    for row, text in enumerate(x):
        rng = Rows.of(stream(0, "antithetic", replicate, row), DRAWS)
        with torch.no_grad():
            every = run.family.nelbo(run.network, text.expand(DRAWS, -1), rng=rng).nats
        found.append(every.double().mean())
    return torch.stack(found), DRAWS


def ours(method: str, budget: int) -> Estimate:
    """`isodiff.likelihood`."""

    def estimate(run: Trained, x: Tensor, replicate: int) -> tuple[Tensor, float]:
        found = likelihood(run, x, method=method, budget=budget, seed=replicate)
        reported[method].append(found.se)
        return found.nats, float(found.num_forwards[0])

    return estimate


def nats(run: Trained, text: Tensor, masked: Tensor) -> Tensor:
    """Of the masked tokens, a draw per row."""
    family: Any = run.family
    with torch.no_grad():
        return family.nats(run.network, text.expand(len(masked), -1), masked).double()


ESTIMATORS: dict[str, Estimate] = {
    "public, 1/t, eps = 1e-3": one_over_t(1e-3),
    "public, 1/t, eps = 0": one_over_t(0.0),
    "public, counts": llada_counts,
    "antithetic counts": antithetic_counts,
    "noise level": ours("noise_level", DRAWS),
    "mask counts": ours("mask_counts", DRAWS + 1),
    "block chain": ours("block_chain", DRAWS),
}
reported: dict[str, list[Tensor]] = {
    name: [] for name in ("noise_level", "mask_counts", "block_chain")
}


def measure(run: Trained, x: Tensor, truth: Tensor, name: str) -> dict[str, float]:
    """Variance times evaluations, in nats^2, and the mean difference from the truth per token."""
    for errors in reported.values():
        errors.clear()
    drawn = [ESTIMATORS[name](run, x, replicate) for replicate in range(REPLICATES)]
    values, evaluations = torch.stack([value for value, _ in drawn]), drawn[0][1]
    within = values.var(0)
    gap = (values.mean(0) - truth) / LENGTH
    found = {
        "evaluations": evaluations,
        "variance_x_evaluations": float(within.mean()) * evaluations,
        "standard_error_nats_per_token": float(within.mean().sqrt()) / LENGTH,
        "difference_nats_per_token": float(gap.mean()),
        "difference_se": float((within / REPLICATES).sum().sqrt()) / LENGTH / len(x),
    }
    errors = [error for each in reported.values() for error in each]
    if errors:
        squares = torch.stack(errors).square().mean()
        found["reported_over_true_variance"] = float(squares / within.mean())
        covered = (values - values.mean(0)).abs() <= 1.96 * torch.stack(errors)
        found["covered"] = float(covered.double().mean())
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the run is, or is to be")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.folder or Path(tempfile.mkdtemp())
    run = trained(folder)
    tokens = run.corpus.split("test")
    chosen = np.random.default_rng(0).permutation(tokens.num_windows(LENGTH))[:WINDOWS]
    x = torch.from_numpy(tokens.gather(np.sort(chosen), LENGTH))
    truth = likelihood(run, x, method="mask_counts", budget=513, seed=-1)
    print(f"{float(truth.nats.mean()) / LENGTH:.4f} nats per token", flush=True)
    found = {}
    for name in ESTIMATORS:
        each = found[name] = measure(run, x, truth.nats, name)
        base = next(iter(found.values()))["variance_x_evaluations"]
        each["fewer_evaluations"] = base / each["variance_x_evaluations"]
        print(f"{name:26}", {key: round(value, 4) for key, value in each.items()}, flush=True)
    result = {
        **to_json(provenance()),
        "run": run.spec.id,
        "length": LENGTH,
        "windows": WINDOWS,
        "replicates": REPLICATES,
        "nats_per_token": float(truth.nats.mean()) / LENGTH,
        "nats_per_token_se": float(truth.se.square().sum().sqrt()) / LENGTH / WINDOWS,
        "estimators": found,
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
