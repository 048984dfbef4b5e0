"""isodiff's samplers beside the ordinary loops, in one process, rounds interleaved.

    python benchmarks/sampling.py --out benchmarks/results/sampling_cpu.json  # about 15 minutes
    python benchmarks/sampling.py --only uniform --cpu                        # one of them, processor time

256 tokens, batch 4, float32, untrained weights (speed does not depend on them); freed memory is kept, as
the command line does. Baselines:
  naive     masked, T steps: the network on every row and step, the head on every position, one float64
            draw over V + 1 states for each position (the mask among them)
  ordinary  the same loop over the same network as one would write it, attention with its scores written out
  keeping   either of them, but the prediction is kept while no token has changed (as in public code)
  uncached  everything shown again at every network evaluation (`Replaying`)
Of a loop whose steps cost the same throughout, steps spread evenly over time are timed, each from a sample
state as it would then be, and multiplied; the table says how many. Figures are medians over the rounds, with
the extremes; ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from isodiff.allocator import keep_freed_memory
from isodiff.families import family_named, sample, undecided
from isodiff.families.base import Sampler
from isodiff.network.attention import Full
from isodiff.network.head import HeadPrediction
from isodiff.network.rotary import rotary_table
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.network.view import Replaying, View
from isodiff.provenance import provenance
from isodiff.rng import Streams
from isodiff.serialization import to_json

L, SHAPE = 256, Shape.parse("4.7M")
Network = Callable[[Tensor], Tensor]


def network(name: str, v: int) -> Transformer:
    """An untrained network with a random head."""
    torch.manual_seed(0)
    family = family_named(name)(vocab_size=v)  # type: ignore[call-arg]
    made = Transformer(
        vocab_size=v,
        num_states=family.num_states,
        shape=SHAPE,
        backbone=Backbone(),
        timed=family.time_conditioned,
    )
    assert made.head is not None
    torch.nn.init.normal_(made.head.weight, std=0.05)
    return made.eval()


def as_is(net: Transformer) -> Network:
    """Probabilities at every position."""
    return lambda z: net(View(z, torch.arange(L), Full())).probs().unflatten(0, z.shape)


def ordinary(net: Transformer) -> Network:
    """The same, written the ordinary way."""
    cos, sin = rotary_table(torch.arange(L), SHAPE.width // SHAPE.heads, net.backbone.rotary_base)

    def rotated(x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def probabilities(z: Tensor) -> Tensor:
        h = net.embedding(z)
        for block in net.blocks:
            qkv = block.qkv(block.norm1(h)).unflatten(-1, (3, SHAPE.heads, -1))
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            scores = rotated(q) @ rotated(k).transpose(-1, -2) / q.shape[-1] ** 0.5
            h = h + block.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
            h = h + block.down(F.gelu(block.up(block.norm2(h))))
        assert net.head is not None
        return net.head(net.norm(h)).softmax(-1)

    return probabilities


def partly_masked(v: int, batch: int, share: float) -> Tensor:
    """Tokens anywhere, each known with this probability."""
    return torch.randint(v, (batch, L)).where(torch.rand(batch, L) < share, v)


def step(z: Tensor, p: Tensor, t: float, s: float) -> Tensor:
    """One ancestral step by a race over the V + 1 states of every position."""
    p = p.double()
    weights = torch.cat([p * (t - s), torch.full((*z.shape, 1), s, dtype=torch.float64)], -1)
    drawn = (weights / -torch.log(torch.rand_like(weights))).argmax(-1)
    return torch.where(z == p.shape[-1], drawn, z)


class Stopwatch:
    """Wall time, or this process's processor time where others disturb the machine."""

    def __init__(self, cpu: bool) -> None:
        self.now = time.process_time if cpu else time.perf_counter

    def seconds(self, work: Callable[[], object]) -> float:
        """Of one run."""
        start = self.now()
        work()
        return self.now() - start

    def naive(self, net: Network, v: int, batch: int, steps: int, timed: int) -> float:
        """Seconds of `steps` steps, from `timed` of them."""
        total = 0.0
        for i in range(timed):
            t = 1 - (i + 0.5) / timed
            z = partly_masked(v, batch, 1 - t)
            total += self.seconds(lambda z=z, t=t: step(z, net(z), t, t - 1 / steps))
        return total * steps / timed

    def outside(self, model: Transformer, work: Callable[[], object]) -> float:
        """Share of `work` that is spent neither on hidden states nor on logits."""
        inside, forward, logits = 0.0, model.forward, HeadPrediction.logits

        def counted(function: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object) -> object:
                nonlocal inside
                start = self.now()
                answer = function(*args)
                inside += self.now() - start
                return answer

            return call

        model.forward, HeadPrediction.logits = counted(forward), counted(logits)  # type: ignore[method-assign]
        try:
            total = self.seconds(work)
        finally:
            model.forward, HeadPrediction.logits = forward, logits  # type: ignore[method-assign]
        return 1 - inside / total


def keeping(net: Network, v: int, batch: int, steps: int) -> None:
    """All steps, the network only after a change."""
    z, p, changed = torch.full((batch, L), v), torch.zeros(0), True
    for i in range(steps):
        p = net(z) if changed else p
        new = step(z, p, 1 - i / steps, 1 - (i + 1) / steps)
        changed, z = not torch.equal(new, z), new


def ours(name: str, model: object, v: int, batch: int, sampler: Sampler) -> Tensor:
    """One batch of texts."""
    family = family_named(name)(vocab_size=v)  # type: ignore[call-arg]
    return sample(family, model, undecided(batch, L), sampler, rng=Streams(0, batch))[0]  # type: ignore[arg-type]


Runs = dict[str, Callable[[], float]]


def masked(watch: Stopwatch, batch: int, v: int, steps: int, timed: int) -> Runs:
    """Event by event, beside the loops over all steps."""
    model, sampler = network("masked", v), family_named("masked").sampler_with(steps)
    nets = {"naive": as_is(model)} | ({"ordinary": ordinary(model)} if v == 257 else {})
    for net in nets.values():
        z = partly_masked(v, 1, 0.5)
        torch.testing.assert_close(net(z), as_is(model)(z), rtol=1e-3, atol=1e-6)
    runs: Runs = {
        "isodiff": lambda: watch.seconds(lambda: ours("masked", model, v, batch, sampler))
    }
    for name, net in nets.items():
        runs[f"{name} ({timed})"] = lambda net=net: watch.naive(net, v, batch, steps, timed)
        if v == 257:
            runs[f"{name}, keeping"] = lambda net=net: watch.seconds(
                lambda: keeping(net, v, batch, steps)
            )
    return runs


def cached(watch: Stopwatch, batch: int, name: str, steps: int) -> Runs:
    """With and without a cache; the same texts."""
    model, sampler = network(name, 257), family_named(name).sampler_with(steps)
    same = [ours(name, m, 257, batch, sampler) for m in (model, Replaying(model))]
    assert torch.equal(*same), "the cache changed a text"
    return {
        "isodiff": lambda: watch.seconds(lambda: ours(name, model, 257, batch, sampler)),
        "uncached": lambda: watch.seconds(
            lambda: ours(name, Replaying(model), 257, batch, sampler)
        ),
    }


def uniform(watch: Stopwatch, batch: int, v: int, steps: int) -> Runs:
    """A walk, and what share of another is spent outside the network."""
    model, sampler = network("uniform", v), family_named("uniform").sampler_with(steps)

    def work() -> Tensor:
        return ours("uniform", model, v, batch, sampler)

    return {"isodiff": lambda: watch.seconds(work), "outside": lambda: watch.outside(model, work)}


COMPARISONS: dict[str, Callable[[Stopwatch, int], Runs]] = {
    "masked, V=257, T=1000": lambda watch, batch: masked(watch, batch, 257, 1000, 25),
    "masked, V=50257, T=1000": lambda watch, batch: masked(watch, batch, 50257, 1000, 5),
    "masked, V=50257, T=64": lambda watch, batch: masked(watch, batch, 50257, 64, 5),
    "uniform, V=50257, T=64": lambda watch, batch: uniform(watch, batch, 50257, 64),
    "autoregressive, V=257": lambda watch, batch: cached(watch, batch, "autoregressive", 1),
    "interpolating, V=257, T=1000": lambda watch, batch: cached(
        watch, batch, "interpolating", 1000
    ),
}


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def compare(what: str, runs: Runs, rounds: int, batch: int) -> list[dict[str, object]]:
    """Every run once a round, one after the other; prints and returns a row for each."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    with torch.no_grad():
        for _ in range(rounds):
            for name, run in runs.items():
                taken[name].append(run())
    rows: list[dict[str, object]] = []
    for name, values in taken.items():
        row: dict[str, object] = {"what": what, "variant": name}
        if name == "outside":
            share = spread(values)
            row["share_outside_network"] = share
            said = f"{share['median']:9.1%} ({share['low']:.1%} .. {share['high']:.1%})"
        else:
            seconds = spread(values)
            ratio = spread([a / b for a, b in zip(values, taken["isodiff"], strict=True)])
            row |= {"seconds": seconds, "over_isodiff": ratio}
            row["tokens_per_second"] = batch * L / seconds["median"]
            said = f"{seconds['median']:9.2f} s ({seconds['low']:.2f} .. {seconds['high']:.2f})"
            said += f"{ratio['median']:8.2f} x ({ratio['low']:.2f} .. {ratio['high']:.2f})"
        rows.append(row)
        print(f"{what:30} {name:18} {said}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--only", default="", help="comparisons whose name contains this")
    parser.add_argument("--cpu", action="store_true", help="processor time in place of wall time")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kept, began, rows = keep_freed_memory(), time.perf_counter(), []
    for what, runs in COMPARISONS.items():
        if options.only in what:
            made = runs(Stopwatch(options.cpu), options.batch)
            rows += compare(what, made, options.rounds, options.batch)
    if options.out:
        result = {
            "what": (__doc__ or "").splitlines()[0],
            "length": L,
            "batch": options.batch,
            "threads": options.threads,
            "dtype": "float32",
            "rounds": options.rounds,
            "time": "processor" if options.cpu else "wall",
            "freed_memory_kept": kept,
            "minutes": (time.perf_counter() - began) / 60,
            "rows": rows,
            "provenance": to_json(provenance()),
        }
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
