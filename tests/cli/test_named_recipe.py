"""`isodiff train --recipe NAME` is the run that its fields, written out, would be."""

from pathlib import Path

import tiny_runs

from isodiff.data.tokens import Corpus
from isodiff.network.shape import Backbone, Shape
from isodiff.runs.build import corpus_identity, describe, make_family
from isodiff.runs.spec import Recipe, RunSpec, Validation


def test_the_papers_recipe_is_one_option(tmp_path: Path) -> None:
    corpus = tiny_runs.corpus(tmp_path)
    words = ["--corpus", corpus, "--budget", "2e9", *tiny_runs.WORDS, "--dry-run"]
    beside = ["--recipe", "paper", "--backbone.relative-bias", "4"]
    plan = tiny_runs.answer("train", "masked", *words, *beside)
    text = Corpus.open(corpus)
    written_out = RunSpec(
        family=describe(make_family({"name": "masked"}, text.vocab_size)),
        shape=Shape.parse("1x16x2"),
        budget=2e9,
        length=32,
        corpus=corpus_identity(text),
        backbone=Backbone(mlp="gelu_tanh", adaln=True, relative_bias=4),
        recipe=Recipe(
            batch_size=4,  # of WORDS, beside the name
            learning_rate=2e-4,
            width_power=0.0,
            warmup=0.01,
            precision="bfloat16",
        ),
        validation=Validation(windows=8, draws=1),
    )
    assert plan["id"] == written_out.id
