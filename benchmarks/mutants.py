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
        "return k, n / k.clamp_min(1).double()",
        "return k, (n + 1) / k.clamp_min(1).double()",
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
        "m * (n + 1) / k",
        "m * n / k",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "untouched sequences from Beta(1, L)",
        "process/counts.py",
        "(1 - v) ** (1 / (n + 1)",
        "(1 - v) ** (1 / n",
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
        "num_free(rng, x.shape[1], given) * self.process.prior_nats()",
        "0",
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
        "        order = counts.left_to_right(order, k)\n",
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
        "condition is not None and len(condition) > 1",
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
        "spared += sinusoids if",
        "spared += 0 if",
        "contract/test_flops.py",
    ),
    Mutant(
        "logits normalised in bfloat16",
        "network/head.py",
        "logits.float() if",
        "logits if",
        "contract/test_prediction.py",
    ),
    Mutant(
        "range of noise: clipped below only",
        "process/counts.py",
        "visited(length, low, device) - visited(length, high, device)",
        "visited(length, low, device)",
        "exact/test_draws.py",
    ),
    Mutant(
        "last k of each block, one too few",
        "process/counts.py",
        "clamp_max(size) - k[:, block]",
        "clamp_max(size) - k[:, block] + 1",
        "exact/test_draws.py",
    ),
    Mutant(
        "noise levels follow the number of the block",
        "rng.py",
        "torch.randperm(n, generator=self.generator)",
        "torch.arange(n)",
        "exact/test_draws.py",
    ),
    Mutant(
        "noise levels of a pair of rows are equal",
        "rng.py",
        "== 1, 1 - v, v)",
        "== 1, v, v)",
        "exact/test_draws.py",
    ),
    Mutant(
        "a smaller last block weighed as a whole one",
        "families/block.py",
        "size / k.clamp_min(1).double()",
        "self.block_size / k.double()",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "the bound of blocks is clipped as training is",
        "families/block.py",
        "replace(self, low=0.0, high=1.0).corrupted_nats(denoiser, x, rng, given)\n        return Likelihood",
        "self.corrupted_nats(denoiser, x, rng, given)\n        return Likelihood",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "objectives of block swapped",
        "families/block.py",
        'return nats if self.objective == "low_variance"',
        'return nats if self.objective == "nelbo"',
        "exact/test_estimators.py",
    ),
    Mutant(
        "clean blocks stand behind the noisy ones",
        "families/block.py",
        "torch.cat([place, place[:clean]])",
        "torch.cat([place, place[:clean] + length])",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "one clean block too few is shown",
        "families/block.py",
        "(length - 1) // self.block_size * self.block_size",
        "max(length - 1 - self.block_size, 0) // self.block_size * self.block_size",
        "exact/test_bound_as_estimated.py exact/test_block.py",
    ),
    Mutant(
        "the last clean block is shown after all",
        "families/block.py",
        "(length - 1) // self.block_size * self.block_size",
        "length",
        "golden/test_published.py exact/test_block.py",
    ),
    Mutant(
        "masks planned as if nothing were clipped",
        "families/block.py",
        "expected = float((q * torch.arange(1, q.shape[1] + 1)).sum())",
        "expected = (length + len(q)) / 2",
        "contract/test_flops.py",
    ),
    Mutant(
        "a window one block too wide",
        "network/attention.py",
        "(k_block > q_block - self.reach)",
        "(k_block >= q_block - self.reach)",
        "contract/test_attention.py exact/test_block.py",
    ),
    Mutant(
        "pairs of hidden clean tokens counted",
        "network/attention.py",
        "min(i * self.block, clean)",
        "i * self.block",
        "contract/test_attention.py",
    ),
    Mutant(
        "pairs outside the window counted",
        "network/attention.py",
        "min(i, self.reach - 1)",
        "i",
        "contract/test_attention.py",
    ),
    Mutant(
        "a block's final tokens never enter the cache",
        "families/block.py",
        "torch.where(rows, current * size, end - 1)",
        "torch.where(rows, end.clamp_max(length - 1), end - 1)",
        "contract/test_caches.py",
    ),
    Mutant(
        "the cache begins where the window of the first row does",
        "network/cache.py",
        "allowed.flatten(0, -2).any(0)",
        "allowed.flatten(0, -2)[-1]",
        "contract/test_caches.py",
    ),
    Mutant(
        "every block in steps of its own, all at once",
        "families/block.py",
        "dense_rank(block * ((steps or length) + 1) +",
        "dense_rank(block * 0 +",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "one step too many in each block",
        "families/block.py",
        "torch.linspace(0, 1, steps + 1,",
        "torch.linspace(0, 1, steps + 2,",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "tokens given after a hole are not refused",
        "families/block.py",
        "(~holes & (block > first)).any()",
        "(~holes & (block > length)).any()",
        "exact/test_block.py",
    ),
    Mutant(
        "a stop token that was given ends the text",
        "families/block.py",
        "(known & holes & (x == sampler.stop))",
        "(known & (x == sampler.stop))",
        "exact/test_block.py",
    ),
    Mutant(
        "a stop token after a hole ends the text",
        "families/block.py",
        "(known & holes & (x == sampler.stop))",
        "(holes & (x == sampler.stop))",
        "exact/test_block.py",
    ),
    Mutant(
        "repetition looked for before the span is full",
        "families/block.py",
        "(count >= sampler.span)",
        "(count >= 1)",
        "exact/test_block.py",
    ),
    Mutant(
        "entropy in bits",
        "families/block.py",
        "-torch.xlogy(share, share).sum(-1)",
        "-(share * share.clamp_min(1e-300).log2()).sum(-1)",
        "exact/test_block.py",
    ),
    Mutant(
        "search weighs blocks of all sizes alike",
        "families/block.py",
        "share = size * q.gather",
        "share = q.gather",
        "exact/test_block.py",
    ),
    Mutant(
        "search compares second moments",
        "families/block.py",
        "(loss - mean).square()",
        "loss.square()",
        "exact/test_block.py",
    ),
    Mutant(
        "search takes the range of most variance",
        "families/block.py",
        "low, high = min(found",
        "low, high = max(found",
        "exact/test_block.py",
    ),
    Mutant(
        "FLOPs counted with the range of the spec",
        "train/loop.py",
        "self.size = measure(spec, self.corpus",
        "self.size = measure(self.spec, self.corpus",
        "train/test_tuning.py",
    ),
    Mutant(
        "a resumed run forgets the range it found",
        "train/loop.py",
        "if self.start.family != spec.family:",
        "if False:",
        "train/test_tuning.py",
    ),
    Mutant(
        "specs do not name the weights they start from",
        "train/spec.py",
        'if key != "init" or part is not None',
        'if key != "init"',
        "train/test_start.py",
    ),
    Mutant(
        "any weights may stand in for those of the spec",
        "train/start.py",
        "if spec.init != self.init:",
        "if False:",
        "train/test_start.py",
    ),
    Mutant(
        "fine-tuned runs are points of a law",
        "scaling/points.py",
        "    if init:\n",
        "    if False:\n",
        "train/test_start.py",
    ),
    Mutant(
        "hybrid, B: p_u / (1 - p_u) without its 2",
        "process/hybrid.py",
        "return 2 * self.p_u / (1 - self.p_u)",
        "return self.p_u / (1 - self.p_u)",
        "exact/test_hybrid.py golden/test_published.py",
    ),
    Mutant(
        "hybrid, odds of m: 4 e under the root taken for 2 e",
        "process/hybrid.py",
        "(self.b**2 + 4 * e)",
        "(self.b**2 + 2 * e)",
        "exact/test_hybrid.py golden/test_closed_forms.py",
    ),
    Mutant(
        "hybrid, p_u form: a mask weighs as much as a random token",
        "process/hybrid.py",
        "one, 2 * one, clock)",
        "one, one, clock)",
        "golden/test_published.py",
    ),
    Mutant(
        "hybrid, shift form: the mask's growth is 1 - s",
        "process/hybrid.py",
        "share, share, 1 + share,",
        "share, share, 1 - share,",
        "exact/test_hybrid.py",
    ),
    Mutant(
        "hybrid, a token in its own state weighs as another",
        "process/hybrid.py",
        "other / (1 + c), other",
        "other, other",
        "exact/test_hybrid.py",
    ),
    Mutant(
        "hybrid, shift with the wrong sign",
        "process/hybrid.py",
        "m / (1 - m) * math.exp(-self.shift)",
        "m / (1 - m) * math.exp(self.shift)",
        "exact/test_hybrid.py",
    ),
    Mutant(
        "hybrid, equal steps of t",
        "process/hybrid.py",
        "torch.sin(math.pi / 2 * u).square()",
        "u * 1.0",
        "exact/test_sampler_law.py",
    ),
    Mutant(
        "hybrid, the released weight with V clean tokens",
        "process/hybrid.py",
        "self.b / self.num_states",
        "self.b / self.vocab_size",
        "golden/test_published.py",
    ),
    Mutant(
        "hybrid, KL without its part of the noise",
        "process/hybrid.py",
        "(most - a + (most - s) / moment.c)",
        "(most - a)",
        "golden/test_closed_forms.py",
    ),
    Mutant(
        "hybrid, Itakura-Saito term of a mask",
        "process/hybrid.py",
        "kl + torch.where(masked, 0, torch.expm1(log_r) - log_r)",
        "kl + torch.expm1(log_r) - log_r",
        "golden/test_closed_forms.py",
    ),
    Mutant(
        "hybrid, log r of another token has the sign of its inverse",
        "process/hybrid.py",
        "torch.where(same, most - a, -b)",
        "torch.where(same, most - a, b)",
        "golden/test_closed_forms.py",
    ),
    Mutant(
        "hybrid, the bound is weighted as the loss",
        "families/hybrid.py",
        'rng, "elbo", given)',
        "rng, self.weighting, given)",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "hybrid, clip per unit of m instead of t",
        "families/hybrid.py",
        "torch.minimum(elbo, moment.time)",
        "elbo.clamp_max(1)",
        "exact/test_hybrid.py",
    ),
    Mutant(
        "hybrid, dynamic weight per unit of t twice",
        "families/hybrid.py",
        "elbo * moment.clock",
        "elbo * moment.time",
        "exact/test_hybrid.py",
    ),
    Mutant(
        "hybrid, noise of kind without its share",
        "families/hybrid.py",
        "kind < moment.share",
        "kind < 0.5",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "hybrid, noise of its own weighs m instead of 2 m",
        "process/counts.py",
        "torch.where(moved, 2 * m, 1)",
        "torch.where(moved, m, 1)",
        "exact/test_hybrid.py",
    ),
    Mutant(
        "hybrid, untouched token of its own from U(0, 1)",
        "process/counts.py",
        "1 - (1 - u).sqrt())",
        "u)",
        "exact/test_hybrid.py",
    ),
    Mutant(
        "hybrid, sampler redraws without the prediction's denominator",
        "families/hybrid.py",
        "u[due] * (alpha_t * p_z + nu[due]) < enter[due]",
        "u[due] * nu[due] < enter[due]",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "hybrid, fresh tokens are always clean",
        "families/hybrid.py",
        "kind < alpha_s\n",
        "kind < 1\n",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "hybrid, sampler shows alpha for m",
        "families/hybrid.py",
        "due, 1 - alpha_t, sampler",
        "due, alpha_t, sampler",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "hybrid, sampler lets masks enter without what they were",
        "families/hybrid.py",
        "mask_t - a * mask_s",
        "mask_t - mask_s",
        "exact/test_sampler_frequencies.py",
    ),
    Mutant(
        "hybrid, corrections at the sampler's own temperature",
        "families/hybrid.py",
        "temperature=sampler.correction_temperature",
        "temperature=sampler.temperature",
        "exact/test_samplers.py",
    ),
    Mutant(
        "hybrid, corrections take the least likely changes",
        "families/hybrid.py",
        "descending=True, stable=True",
        "descending=False, stable=True",
        "exact/test_samplers.py",
    ),
    Mutant(
        "hybrid, corrections never end",
        "families/hybrid.py",
        "live & changed.any(-1) & (waited",
        "live & (waited",
        "exact/test_samplers.py",
    ),
    Mutant(
        "hybrid, corrections have no patience",
        "families/hybrid.py",
        "(waited <= sampler.patience)",
        "(waited < sampler.patience)",
        "exact/test_samplers.py",
    ),
    Mutant(
        "D3PM's steps all weigh the same",
        "process/counts.py",
        "binomial(length, i / steps)[1:] / i for",
        "binomial(length, i / steps)[1:] / steps for",
        "exact/test_baselines.py",
    ),
    Mutant(
        "D3PM without its last step",
        "process/counts.py",
        "for i in range(1, steps + 1)),",
        "for i in range(2, steps + 1)),",
        "exact/test_baselines.py",
    ),
    Mutant(
        "SEDD without the price of its sum",
        "families/masked.py",
        "nats + torch.expm1(log_z) - log_z",
        "nats + torch.expm1(log_z)",
        "exact/test_baselines.py",
    ),
    Mutant(
        "SEDD's scores scaled by 1 instead of 1 / V",
        "network/head.py",
        "logits.logsumexp(-1) - math.log(logits.shape[-1])",
        "logits.logsumexp(-1)",
        "exact/test_baselines.py",
    ),
    Mutant(
        "gaussian: the prior forgets the sign of log sigma",
        "process/gaussian.py",
        "(signal + logsigmoid(gamma_1))",
        "(signal - logsigmoid(gamma_1))",
        "exact/test_gaussian_steps.py",
    ),
    Mutant(
        "gaussian: no half before the squared error",
        "process/gaussian.py",
        "return 0.5 * (-gamma).exp()",
        "return (-gamma).exp()",
        "golden/test_plaid.py",
    ),
    Mutant(
        "gaussian: evidence divided by sigma",
        "process/gaussian.py",
        "/ sigma(gamma) ** 2 * z",
        "/ sigma(gamma) * z",
        "exact/test_gaussian_steps.py",
    ),
    Mutant(
        "gaussian: ancestral noise of level t",
        "process/gaussian.py",
        "sigma(gamma_s) * c.sqrt()",
        "sigma(gamma_t) * c.sqrt()",
        "exact/test_gaussian_steps.py",
    ),
    Mutant(
        "gaussian: x_hat extrapolated to the end of the step",
        "process/gaussian.py",
        "0.5 * ratio",
        "ratio",
        "exact/test_gaussian_steps.py",
    ),
    Mutant(
        "gaussian: extrapolation blind to the sizes of steps",
        "process/gaussian.py",
        "(gamma_t - gamma_s) / (gamma_before - gamma_t)",
        "1.0",
        "exact/test_gaussian_steps.py",
    ),
    Mutant(
        "gaussian: guidance scaled by sigma",
        "process/gaussian.py",
        "sigma(gamma) ** 2 / alpha(gamma) * pull",
        "sigma(gamma) / alpha(gamma) * pull",
        "exact/test_gaussian_steps.py",
    ),
    Mutant(
        "gaussian: the slope of gamma lacks its span",
        "families/gaussian.py",
        "span * path[0], span * path[1]",
        "span * path[0], path[1]",
        "golden/test_plaid.py",
    ),
    Mutant(
        "gaussian: input not at unit variance",
        "families/gaussian.py",
        "(torch.sigmoid(-level) / width + noise)",
        "(torch.sigmoid(-level) + noise)",
        "golden/test_plaid.py",
    ),
    Mutant(
        "gaussian: the path follows the bound",
        "families/gaussian.py",
        "g * PACE * 2 * (typical - usual)",
        "g * PACE",
        "contract/test_latent.py",
    ),
    Mutant(
        "gaussian: the ends follow the spread too",
        "families/gaussian.py",
        "for part in path:",
        "for part in (*path, *ends):",
        "contract/test_latent.py",
    ),
    Mutant(
        "gaussian: second looks teach vectors and schedule",
        "families/gaussian.py",
        "        if twice:\n            table =",
        "        if not x.numel():\n            table =",
        "contract/test_latent.py",
    ),
    Mutant(
        "gaussian: the first look's estimate shown unscaled",
        "families/gaussian.py",
        "guess * math.sqrt(width)",
        "guess * 1",
        "contract/test_latent.py",
    ),
    Mutant(
        "gaussian: weights of the two terms swapped",
        "families/gaussian.py",
        "1 / CLEAN, 1 / (1 - CLEAN))",
        "1 / (1 - CLEAN), 1 / CLEAN)",
        "exact/test_estimators.py",
    ),
    Mutant(
        "gaussian: times of the diffusion term begin at the share of the other",
        "families/gaussian.py",
        "(u - CLEAN) / (1 - CLEAN))",
        "u)",
        "exact/test_estimators.py",
    ),
    Mutant(
        "gaussian: the bound without its prior",
        "families/gaussian.py",
        "reconstruction + diffusion + prior, ",
        "reconstruction + diffusion, ",
        "exact/test_gaussian_bound.py",
    ),
    Mutant(
        "gaussian: the last evaluation before t = 0",
        "families/gaussian.py",
        "torch.linspace(1, 0, sampler.steps,",
        "torch.linspace(1, 1 / sampler.steps, sampler.steps,",
        "exact/test_gaussian_samplers.py",
    ),
    Mutant(
        "gaussian: second order never used",
        "families/gaussian.py",
        'if sampler.method == "dpm" and before',
        'if sampler.method == "" and before',
        "exact/test_gaussian_samplers.py",
    ),
    Mutant(
        "gaussian: guidance away from what is given",
        "families/gaussian.py",
        "prediction, -torch.autograd.grad",
        "prediction, torch.autograd.grad",
        "exact/test_gaussian_samplers.py",
    ),
    Mutant(
        "gaussian: the slope of the path per piece",
        "network/latent.py",
        ", PIECES * width[piece]",
        ", width[piece]",
        "contract/test_latent.py",
    ),
    Mutant(
        "gaussian: vectors keep the length of their parameters",
        "network/latent.py",
        "return F.normalize(self.raw, dim=-1)",
        "return self.raw",
        "contract/test_latent.py",
    ),
    Mutant(
        "gaussian: evidence added in bfloat16",
        "network/head.py",
        "enabled=False",
        "enabled=True",
        "contract/test_latent.py",
    ),
    Mutant(
        "gaussian: means of vectors in bfloat16",
        "network/view.py",
        "enabled=False",
        "enabled=True",
        "contract/test_latent.py",
    ),
    Mutant(
        "gaussian: first looks counted as trained",
        "network/flops.py",
        "(3, part.spared) if view.trained else (1, 0)",
        "(3, part.spared)",
        "contract/test_flops.py",
    ),
    Mutant(
        "gaussian: gradients of fixed vectors counted",
        "network/flops.py",
        "0 if view.table.requires_grad else products",
        "0",
        "contract/test_flops.py",
    ),
    Mutant(
        "gaussian: vectors learn at the width's rate",
        "train/optimizer.py",
        '"peak": LATENT_RATE',
        '"peak": peak',
        "train/test_loop.py::test_learned_vectors_and_schedules_have_a_rate_of_their_own",
    ),
    Mutant(
        "counts of all tokens, not of those that are free",
        "process/counts.py",
        "return (~given).sum(-1)",
        "return torch.full_like(given[:, 0], given.shape[1], dtype=torch.long)",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "given tokens may be masked",
        "process/counts.py",
        "torch.where(given, place, len(place) + order",
        "torch.where(given, 0 * place, 0 * len(place) + order",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "given tokens are corrupted",
        "process/counts.py",
        "u.masked_fill(given, torch.inf)",
        "u",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "given tokens are scored",
        "families/hybrid.py",
        "d if given is None else d.masked_fill(given, 0)",
        "d",
        "contract/test_given.py",
    ),
    Mutant(
        "blocks weigh their given tokens",
        "families/block.py",
        "torch.ones_like(x) if given is None else (~given).long()",
        "torch.ones_like(x)",
        "exact/test_bound_as_estimated.py",
    ),
    Mutant(
        "given vectors are noisy",
        "families/gaussian.py",
        "noise.masked_fill(given[..., None], 0)",
        "noise",
        "exact/test_gaussian_bound.py",
    ),
    Mutant(
        "gaussian: the prior of given tokens",
        "families/gaussian.py",
        "return out.masked_fill(given, 0)",
        "return out",
        "contract/test_given.py",
    ),
    Mutant(
        "padding is seen",
        "network/padding.py",
        "self.base.allowed(q, k, n) & q_real & k_real",
        "self.base.allowed(q, k, n) & q_real",
        "contract/test_given.py",
    ),
    Mutant(
        "some sequences have the lengths of the first",
        "network/padding.py",
        "self.lengths[rows])",
        "self.lengths[: len(self.lengths[rows])])",
        "contract/test_given.py",
    ),
    Mutant(
        "a cache forgets which slots are padding",
        "network/padding.py",
        "Unpadded(view.attention, cache.padding)",
        "Unpadded(view.attention, torch.zeros_like(cache.padding))",
        "contract/test_given.py",
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
