"""isodiff's samplers beside the ordinary loops, in one process, rounds interleaved.

    python benchmarks/sampling.py --out benchmarks/results/sampling_cpu.json

256 tokens, batch 4, untrained weights (speed does not depend on them). Baselines:
  naive     masked, T steps: the network on every row and step, the head on every position, one float64
            race over V + 1 states for each position (the mask among them)
  caching   the same, but the prediction is kept while no token has changed (the public code's sampler)
  uncached  everything shown again at every network evaluation (`Replaying`)
A naive step costs the same at every step, so only some are timed and multiplied; the table says how many.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from isodiff.families import blank, family_named, sample
from isodiff.families.base import Sampler
from isodiff.network.attention import Full
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.network.view import Replaying, View
from isodiff.record import provenance
from isodiff.rng import Streams

L = 256


def network(name: str, v: int, shape: str) -> Transformer:
    """An untrained network with a random head."""
    torch.manual_seed(0)
    family = family_named(name)(vocab_size=v)  # type: ignore[call-arg]
    made = Transformer(
        vocab_size=v,
        num_states=family.num_states,
        shape=Shape.parse(shape),
        backbone=Backbone(),
        timed=family.time_conditioned,
    )
    assert made.head is not None
    torch.nn.init.normal_(made.head.weight, std=0.05)
    return made.eval()


def naive(model: Transformer, v: int, batch: int, steps: int, timed: int, keep: bool) -> float:
    """Seconds of `steps` steps, of which the first `timed` are run; `keep` reuses predictions."""
    z = torch.full((batch, L), v)
    positions, p, changed = torch.arange(L), torch.zeros(0), True
    start = time.perf_counter()
    for i in range(timed):
        t, s = 1 - i / steps, 1 - (i + 1) / steps
        if changed or not keep:
            p = model(View(z, positions, Full())).probs().double().view(batch, L, v)
        weights = torch.cat([p * (t - s), torch.full((batch, L, 1), s, dtype=torch.float64)], -1)
        race = weights / -torch.log(torch.rand_like(weights))
        drawn = race.argmax(-1)
        new = torch.where(z == v, drawn, z)
        changed, z = not torch.equal(new, z), new
    return (time.perf_counter() - start) * steps / timed


def ours(name: str, model: object, v: int, batch: int, sampler: Sampler) -> tuple[float, Tensor]:
    """Seconds of one batch, and its tokens."""
    family = family_named(name)(vocab_size=v)  # type: ignore[call-arg]
    start = time.perf_counter()
    tokens, _ = sample(family, model, blank(batch, L), sampler, rng=Streams(0, batch))  # type: ignore[arg-type]
    return time.perf_counter() - start, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    batch, rows = options.batch, []

    def compare(what: str, variants: dict[str, Callable[[], float]]) -> None:
        best = {name: float("inf") for name in variants}
        for _ in range(options.rounds):
            for name, run in variants.items():
                with torch.no_grad():
                    best[name] = min(best[name], run())
        for name, seconds in best.items():
            row = {
                "what": what,
                "variant": name,
                "seconds": seconds,
                "over_isodiff": seconds / best["isodiff"],
            }
            rows.append({**row, "tokens_per_second": batch * L / seconds})
            print(
                f"{what:34} {name:9} {seconds:9.2f} s  {row['over_isodiff']:7.1f} x isodiff",
                flush=True,
            )

    masked = family_named("masked")
    for v, shape, steps, timed in (
        (257, "4.7M", 1000, 25),
        (50257, "4.7M", 1000, 3),
        (50257, "4.7M", 64, 3),
    ):
        model = network("masked", v, shape)
        variants = {
            "isodiff": lambda m=model, v=v, t=steps: ours(
                "masked", m, v, batch, masked.sampler_with(t)
            )[0],
            "naive": lambda m=model, v=v, t=steps, n=timed: naive(m, v, batch, t, n, False),
        }
        if v == 257:
            variants["caching"] = lambda m=model, v=v, t=steps: naive(m, v, batch, t, t, True)
        compare(f"masked, V={v}, T={steps}", variants)
    for name, steps in (("autoregressive", 1), ("interpolating", 1000)):
        model, sampler = network(name, 257, "4.7M"), family_named(name).sampler_with(steps)
        same = [ours(name, m, 257, batch, sampler)[1] for m in (model, Replaying(model))]
        assert torch.equal(*same), "the cache changed a text"
        variants = {
            "isodiff": lambda n=name, m=model, s=sampler: ours(n, m, 257, batch, s)[0],
            "uncached": lambda n=name, m=model, s=sampler: ours(n, Replaying(m), 257, batch, s)[0],
        }
        compare(f"{name}, V=257", variants)
    if options.out:
        result = {
            "what": (__doc__ or "").splitlines()[0],
            "length": L,
            "batch": batch,
            "threads": options.threads,
            "dtype": "float32",
            "rows": rows,
            "provenance": provenance(),
        }
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
