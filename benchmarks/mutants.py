"""Deliberate bugs, one at a time, in a copy of the source: does a test notice?

    python benchmarks/mutants.py                  # all of them; writes benchmarks/results/mutants.md
    python benchmarks/mutants.py statistics strata # those whose description contains a word

A survivor is a gap in the tests. A mutant whose text is no longer in the source is stale: rewrite it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "benchmarks" / "results" / "mutants.md"


class Mutant(NamedTuple):
    """One bug: in `file`, `old` becomes `new`; `tests` should notice."""

    what: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    Mutant(
        "posterior weighs the prediction at t, not s",
        "process/categorical.py",
        "(a * stay + enter) * self.marginal(x, s)",
        "(a * stay + enter) * self.marginal(x, t)",
        "exact/test_reverse.py",
    ),
    Mutant(
        "jump rate with the wrong sign of alpha'",
        "process/categorical.py",
        "return d_nu - (d_alpha",
        "return d_nu + (d_alpha",
        "exact/test_reverse.py",
    ),
    Mutant(
        "integrand is a KL of unnormalised rates",
        "process/categorical.py",
        "r_hat - r + torch.xlogy(r, r)",
        "torch.xlogy(r, r)",
        "exact/test_reverse.py",
    ),
    Mutant(
        "prior term counts V states twice",
        "process/categorical.py",
        "rest = (1 - 1 / v)",
        "rest = (1 + 1 / v)",
        "exact/test_marginals.py",
    ),
    Mutant(
        "mask-count weight (L + 1) / k",
        "process/counts.py",
        "return k, length / k.double()",
        "return k, (length + 1) / k.double()",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "P(k_0 <= k) for P(k_0 < k)",
        "process/counts.py",
        ".cumsum(0)[:-1].clamp_max(1)",
        ".cumsum(0)[1:].clamp_max(1)",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "moments weighted by L instead of L + 1",
        "process/counts.py",
        "m * (length + 1) / k",
        "m * length / k",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "untouched sequences from Beta(1, L)",
        "process/counts.py",
        "(1 - v) ** (1 / (length + 1))",
        "(1 - v) ** (1 / length)",
        "exact/test_draws.py",
    ),
    Mutant(
        "the token of the moment is not corrupted",
        "process/counts.py",
        "(u <= m[:, None])",
        "(u < m[:, None])",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "last k of an order, one too many",
        "process/counts.py",
        "order.argsort(-1) >= (order",
        "order.argsort(-1) > (order",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "draw may return a category of weight zero",
        "categorical.py",
        "right=True",
        "right=False",
        "exact/test_draws.py",
    ),
    Mutant(
        "temperature multiplies",
        "categorical.py",
        "logits / self.temperature)",
        "logits * self.temperature)",
        "exact/test_draws.py contract/test_prediction.py",
    ),
    Mutant(
        "strata of the local rows instead of the global batch",
        "rng.py",
        "self.index / self.total) % 1",
        "self.index / len(self)) % 1",
        "exact/test_draws.py",
    ),
    Mutant(
        "antithetic pairs sum to count",
        "rng.py",
        "count + 1 - k, k)",
        "count - k, k)",
        "exact/test_draws.py",
    ),
    Mutant(
        "uniform, z != x: sign of c (b - a)",
        "families/uniform.py",
        "c * (b - a)",
        "c * (a - b)",
        "golden/test_closed_forms.py",
    ),
    Mutant(
        "uniform, z == x: 1/y_z for (1+c)/y_z",
        "families/uniform.py",
        "torch.expm1(log_ratio - b)",
        "torch.expm1(-b)",
        "golden/test_closed_forms.py",
    ),
    Mutant(
        "statistics round 1 + c p before the logarithm",
        "network/view.py",
        "torch.log1p(c * pick(p, x))",
        "(1 + c * pick(p, x)).float().log().to(p)",
        "golden/test_closed_forms.py",
    ),
    Mutant(
        "a schedule that stops short integrates to the end",
        "families/uniform.py",
        "m <= 1 - self.alpha_end",
        "m <= 1",
        "exact/test_estimators.py",
    ),
    Mutant(
        "prior term left out of the bound",
        "families/uniform.py",
        "nats + x.shape[1] * self.process.prior_nats()",
        "nats",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "uniform sampler shows alpha for m",
        "families/uniform.py",
        "1 - alpha_t, device=z.device",
        "alpha_t, device=z.device",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "ancestral steps predict at s",
        "families/uniform.py",
        "1 - alpha_t, device=z.device",
        "1 - alpha_s, device=z.device",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "masks lifted a step late",
        "families/unmasking.py",
        "alphas[1:].to",
        "alphas[:-1].to",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "remasking without its share of lifted masks",
        "families/masked.py",
        "(alpha_s - (1 - sigma) * alpha_t)",
        "(alpha_s - alpha_t)",
        "exact/test_samplers.py",
    ),
    Mutant(
        "thinning by too low a bound",
        "families/uniform.py",
        "leaving(u.new_zeros(())",
        "leaving(u.new_ones(())",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "noise in place of a token may be the token itself",
        "families/uniform.py",
        "random + (random >= z), z)",
        "random, z)",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "the corrector noises too much",
        "families/uniform.py",
        "(renew[:, 0] >= alpha_s)",
        "(renew[:, 0] >= alpha_t)",
        "exact/test_samplers.py",
    ),
    Mutant(
        "cached masks are never replaced by their tokens",
        "families/interpolating.py",
        "shown, done = done, done + count",
        "shown, done = done + count, done + count",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "a cache lets everything be seen",
        "network/cache.py",
        "if not bool(allowed.all()):",
        "if False:",
        "contract/test_caches.py",
    ),
    Mutant(
        "top_p keeps one token too few",
        "categorical.py",
        "before < self.top_p",
        "before + mass < self.top_p",
        "exact/test_samplers.py",
    ),
    Mutant(
        "objectives of masked swapped",
        "families/masked.py",
        'nats if self.objective == "low_variance"',
        'nats if self.objective == "nelbo"',
        "exact/test_estimators.py",
    ),
    Mutant(
        "second phase in the order of the first",
        "families/interpolating.py",
        "        order = left_to_right(order, k)\n",
        "",
        "contract/test_leakage.py",
    ),
    Mutant(
        "positions of the clean stream do not travel",
        "families/interpolating.py",
        "torch.cat([order, order], 1)",
        "torch.cat([order, order.sort(-1).values], 1)",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "the two phases have rows in blocks, which halves the strata",
        "families/interpolating.py",
        "(row + 1) * num // total > row * num // total",
        "row < num",
        "exact/test_estimators.py",
    ),
    Mutant(
        "shares of the two phases swapped",
        "families/interpolating.py",
        "nats / share)",
        "nats / (1 - share))",
        "exact/test_estimators.py",
    ),
    Mutant(
        "first phase runs on to alpha = 1",
        "families/interpolating.py",
        "torch.linspace(0, alpha_0,",
        "torch.linspace(0, 1,",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "in variant A as many tokens get acquainted as there are masks",
        "families/interpolating.py",
        "View(z, order, self.pattern(Causal(), length - k))",
        "View(z, order, self.pattern(Causal(), k))",
        "contract/test_caches.py",
    ),
    Mutant(
        "variant A trains its second phase as variant B",
        "families/interpolating.py",
        "pattern = self.pattern(TwoStream(1), length - k)",
        "pattern = TwoStream(1)",
        "contract/test_caches.py",
    ),
    Mutant(
        "variant A caches its second phase as variant B",
        "families/interpolating.py",
        "        pattern = self.pattern(Causal(), done)\n        for",
        "        pattern = Causal()\n        for",
        "contract/test_caches.py",
    ),
    Mutant(
        "variant A samples its first phase as variant B",
        "families/interpolating.py",
        "denoiser, self.pattern(Causal(), done), x",
        "denoiser, Causal(), x",
        "contract/test_caches.py",
    ),
    Mutant(
        "planned attention of variant A from half the mean",
        "process/counts.py",
        "(1 + 4 * mean)",
        "(1 + 2 * mean)",
        "contract/test_flops.py",
    ),
    Mutant(
        "strides are runs",
        "families/interpolating.py",
        "step = rank % stride",
        "step = rank * stride // length",
        "exact/test_strides.py",
    ),
    Mutant(
        "one offset too many in the first phase",
        "families/interpolating.py",
        "later = step >= round(alpha_0 * stride)",
        "later = step > round(alpha_0 * stride)",
        "exact/test_strides.py",
    ),
    Mutant(
        "offsets of a stride always from left to right",
        "families/interpolating.py",
        "step = rng.permutation(stride).gather(1, step)",
        "step = step + 0 * rng.permutation(stride)[:, :1]",
        "exact/test_strides.py",
    ),
    Mutant(
        "neighbours are taken together with anchors",
        "families/interpolating.py",
        "torch.where(step > 0, size + step, rank // stride)",
        "torch.where(step > 0, step, rank // stride)",
        "exact/test_strides.py",
    ),
    Mutant(
        "ranks go on from block to block",
        "families/unmasking.py",
        'return before - far.scatter_reduce(1, block, far, "amin").gather(1, block)',
        "return before",
        "exact/test_strides.py",
    ),
    Mutant(
        "rounding errors decide where the network is surest",
        "families/masked.py",
        "dtype=torch.float16",
        "dtype=torch.float64",
        "contract/test_caches.py",
    ),
    Mutant(
        "a token that leaves may come back as itself",
        "families/uniform.py",
        "p[rows].scatter_(-1, z[rows, None], 0)",
        "p[rows]",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "the greedy posterior forgets the token already there",
        "families/uniform.py",
        "p_z + p_z * (v * alpha_t / (1 - alpha_t)) > likeliest",
        "p_z > likeliest",
        "exact/test_samplers.py",
    ),
    Mutant(
        "acquainted tokens see the masks",
        "network/attention.py",
        "(q < end) & (k < end)",
        "(q < end)",
        "contract/test_attention.py",
    ),
    Mutant(
        "the last block averages keys for values",
        "network/transformer.py",
        "of_q, of_k, of_v = ",
        "of_q, of_v, of_k = ",
        "contract/test_few_reads.py",
    ),
    Mutant(
        "one noise level projects the states of all sequences",
        "network/transformer.py",
        "(condition is not None and len(condition) > 1)",
        "False",
        "contract/test_few_reads.py",
    ),
    Mutant(
        "autoregressive input is not shifted",
        "families/autoregressive.py",
        "torch.cat([start, x[:, :-1]], 1)",
        "torch.cat([x[:, :-1], start], 1)",
        "contract/test_leakage.py",
    ),
    Mutant(
        "frames of a walk share memory",
        "families/autoregressive.py",
        "            x = x.clone()\n",
        "",
        "contract/test_rows.py",
    ),
    Mutant(
        "a noisy token sees its own clean copy",
        "network/attention.py",
        "(k_block < q_block)",
        "(k_block <= q_block)",
        "golden/test_published.py contract/test_attention.py",
    ),
    Mutant(
        "attention scaled by 1 / C",
        "network/attention.py",
        "scale = width**-0.5",
        "scale = width**-1.0",
        "contract/test_attention.py",
    ),
    Mutant(
        "rotation is a reflection",
        "network/rotary.py",
        "torch.cat([-sin, sin], -1)",
        "torch.cat([sin, sin], -1)",
        "contract/test_leakage.py",
    ),
    Mutant(
        "modulation scales by `scale` instead of 1 + scale",
        "network/transformer.py",
        "h * (1 + by.scale) + by.shift",
        "h * by.scale + by.shift",
        "golden/test_first_losses.py",
    ),
    Mutant(
        "the sinusoids' layer counted as if it passed a gradient on",
        "network/flops.py",
        "3 * part.dense - part.condition_input",
        "3 * part.dense",
        "contract/test_flops.py",
    ),
    Mutant(
        "logits normalised in bfloat16",
        "network/head.py",
        "logits.float() if",
        "logits if",
        "contract/test_prediction.py",
    ),
]


def run_tests(tests: list[str], source: Path) -> int:
    """pytest's exit code with `source` in place of the checkout's."""
    paths = [f"tests/{name}" for name in tests]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *paths],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        capture_output=True,
    ).returncode


def verdict(mutant: Mutant, source: Path) -> str:
    """`killed`, `SURVIVED`, or `stale`; the copy is left as it was."""
    file = source / "isodiff" / mutant.file
    text = file.read_text()
    if mutant.old not in text:
        return "stale"
    file.write_text(text.replace(mutant.old, mutant.new))
    try:
        code = run_tests(mutant.tests.split(), source)
    finally:
        file.write_text(text)
    # 1: a test failed. 2: collection failed, which would also kill correct code.
    return {0: "SURVIVED", 1: "killed"}.get(code, f"error {code}")


def main(words: list[str]) -> int:
    """Run the mutants, print a line for each, store the table if all were run."""
    chosen = [m for m in MUTANTS if not words or any(word in m.what for word in words)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        if run_tests(sorted({name for m in chosen for name in m.tests.split()}), source):
            raise SystemExit("the tests fail without any mutant; mend that first")
        for mutant in chosen:
            start = time.perf_counter()
            outcome = verdict(mutant, source)
            seconds = time.perf_counter() - start
            sys.stdout.write(f"{outcome:9} {seconds:5.1f} s  {mutant.what}\n")
            sys.stdout.flush()
            rows.append(f"| {mutant.what} | `{mutant.file}` | `{mutant.tests}` | {outcome} |")
    killed = sum(row.endswith("| killed |") for row in rows)
    sys.stdout.write(f"{killed} of {len(rows)} killed\n")
    if not words:
        head = "| bug | in src/isodiff/ | noticed by tests/ | outcome |\n|---|---|---|---|\n"
        intro = (
            "# Deliberate bugs\n\n`python benchmarks/mutants.py`: each bug alone, in a copy.\n\n"
        )
        summary = f"\n{killed} of {len(rows)} killed.\n"
        REPORT.write_text(intro + head + "\n".join(rows) + "\n" + summary)
    return 0 if killed == len(rows) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
