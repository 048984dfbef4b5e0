"""A study that asks for more in the same folder keeps what is done; one that asks for less is another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_study
from test_shared_prefixes import spec
from test_study_file import GOOD, read

from isodiff.cli import main
from isodiff.errors import InputError
from isodiff.study.branching import with_shared_warmup
from isodiff.study.jobs import CalibrateSteps, TrainRun

QUICK = ("frontier: {steps: [2], texts: 8, held_out: 16, call_seconds: 0.01}", "frontier: null")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_study.small_corpus(tmp_path_factory.mktemp("growth") / "corpus")


@pytest.fixture(scope="module")
def begun(corpus: Path) -> Path:
    """The folder of the study as it is at first."""
    with pytest.MonkeyPatch.context() as patch:
        tiny_study.in_this_process(patch)
        assert study(corpus.parent, corpus) == 0
    return corpus.parent / "out"


@pytest.fixture
def place(begun: Path, tmp_path: Path) -> Path:
    shutil.copytree(begun, tmp_path / "out")
    return tmp_path


def study(place: Path, corpus: Path, *changes: tuple[str, str], more: tuple[str, ...] = ()) -> int:
    file = tiny_study.write_study(place / "tiny.yaml", corpus, QUICK, *changes)
    words = ["--out", str(place / "out"), "--workers", "1", "--bootstrap", "0", *more]
    return main(["study", file, *words])


def records(place: Path) -> dict[str, int]:
    return {
        file.parent.name: file.stat().st_mtime_ns for file in place.glob("out/runs/*/record.json")
    }


FLOPS = "{flops: 3e8, shapes: [1x8x1, 1x12x1]}"
SEEDS = ("length: 16", "length: 16\nseeds: [0, 1]")
RATES = ("learning_rate: 1e-2", "learning_rate: [1e-2, 2e-2]")
GROWN = {
    "seeds": ([SEEDS], 2),
    "budgets": ([(FLOPS, f"{FLOPS}\n  - {{flops: 4e8, shapes: [1x8x1]}}")], 1),
    "shapes": ([("1x12x1", "1x12x1, 1x16x1")], 1),
    "families": ([("[autoregressive]", "[masked, autoregressive]")], 2),
    "learning rates": ([RATES], 2),
    "decays and seeds": ([("batch_size: 4", "batch_size: 4, ema: [null, 0.9]"), SEEDS], 6),
    "a new name": ([("name: tiny", "name: renamed\ndescription: of tiny")], 0),
    "a longer frontier": ([("sampling: {texts: 2", "sampling: {texts: 1")], 0),
}


@pytest.mark.parametrize("what", GROWN)
def test_more_of_anything_keeps_what_is_done(
    what: str, place: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = records(place)
    asked = tiny_study.in_this_process(monkeypatch)
    changes, number = GROWN[what]
    assert study(place, corpus, *changes) == 0
    after = records(place)
    assert len(after) == len(before) + number and before.items() <= after.items()
    new = set(after) - set(before)
    assert {job.spec.id for job in asked if isinstance(job, TrainRun)} == new
    assert {job.spec.id for job in asked if isinstance(job, CalibrateSteps)} <= new
    plan = json.loads((place / "out" / "plan.json").read_text())
    assert {run["id"] for run in plan["runs"]} == set(after)
    asked.clear()
    assert study(place, corpus, *changes) == 0
    assert not any(isinstance(job, TrainRun | CalibrateSteps) for job in asked)
    assert records(place) == after


OTHER = {
    "another recipe": (("batch_size: 4", "batch_size: 2"), "recipe.batch_size is 2, not 4"),
    "another rate": (
        ("learning_rate: 1e-2", "learning_rate: [2e-2, 3e-2]"),
        "recipe.learning_rate is",
    ),
    "another length": (("length: 16", "length: 20"), "length is 20, not 16"),
    "fewer shapes": (("[1x8x1, 1x12x1]", "[1x8x1]"), "shape.width is 8, not 12"),
    "another family": (
        ("[autoregressive]", "[masked]"),
        "family.name is masked, not autoregressive",
    ),
    "another budget": (("flops: 3e8", "flops: 4e8"), "budget is 400000000.0, not 300000000.0"),
    "another validation": (("windows: 16", "windows: 12"), "validation.windows is 12, not 16"),
}


@pytest.mark.parametrize("what", OTHER)
def test_a_study_that_drops_what_is_done_is_another(
    what: str,
    place: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny_study.in_this_process(monkeypatch)
    change, said = OTHER[what]
    before, plan = records(place), (place / "out" / "plan.json").read_text()
    assert study(place, corpus, change) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "holds another study: " in last and said in last
    assert records(place) == before and (place / "out" / "plan.json").read_text() == plan


def test_a_study_begun_without_a_clock_gets_none(
    place: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_study.in_this_process(monkeypatch)
    assert study(place, corpus, SEEDS, more=("--minutes", "9")) == 2
    assert "was begun without --minutes" in capsys.readouterr().err.splitlines()[-1]


def test_budgets_stay_scaled_as_at_the_first_start(
    tmp_path: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny_study.in_this_process(monkeypatch)
    monkeypatch.setattr("isodiff.study.plan.fit_to", lambda *_: 1.2345)
    assert study(tmp_path, corpus, more=("--minutes", "9")) == 0
    before = records(tmp_path)
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan["scale"] == 1.2345 and plan["study"]["budgets"][0]["flops"] == 3.7e8
    monkeypatch.setattr("isodiff.study.plan.fit_to", lambda *_: 9.0)
    change = (FLOPS, f"{FLOPS}\n  - {{flops: 4e8, shapes: [1x8x1]}}")
    assert study(tmp_path, corpus, change, more=("--minutes", "8")) == 2
    assert "was begun with --minutes 9" in capsys.readouterr().err.splitlines()[-1]
    assert study(tmp_path, corpus, change, more=("--minutes", "9")) == 0
    after = records(tmp_path)
    assert len(after) == 3 and before.items() <= after.items()
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert [one["flops"] for one in plan["study"]["budgets"]] == [3.7e8, 4.94e8]


def test_a_smaller_budget_takes_the_warm_up_that_there_is() -> None:
    """Or the runs that are done would not be those of the study any more."""
    old = with_shared_warmup([spec(4e9), spec(9e9)], [800, 1800])
    grown = with_shared_warmup([spec(1e9), spec(4e9), spec(9e9)], [200, 800, 1800], old)
    assert [one.recipe.warmup_steps for one in grown] == [40, 40, 40]
    assert [one.id for one in grown[1:]] == [one.id for one in old]


@pytest.mark.parametrize(
    ("recipe", "number"),
    [
        ("{batch_size: 4}", 1),
        ("{batch_size: [4]}", 1),
        ("{learning_rate: [1e-3, 2e-3, 4e-3]}", 3),
        ("{learning_rate: [1e-3, 2e-3], batch_size: [4, 8], ema: [null, 0.9]}", 8),
        ("{schedule: [cosine, wsd], parametrization: [standard, complete_p]}", 4),
    ],
)
def test_fields_of_the_recipe_are_axes(recipe: str, number: int, tmp_path: Path) -> None:
    one = read(tmp_path, GOOD.replace("{batch_size: 4}", recipe))
    drafts = one.drafts()
    assert len(one.recipe) == number and len(drafts) == number * 12
    assert len({json.dumps(draft, sort_keys=True) for draft in drafts}) == len(drafts)
    (tmp_path / "again.yaml").write_text(json.dumps(one.to_json()))
    assert read(tmp_path, (tmp_path / "again.yaml").read_text()) == one


AXES = str({name: [*range(1, 99)] for name in ("batch_size", "clip", "warmup_steps")})


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            "{learning_rate: []}",
            "recipe.learning_rate is an empty list",
        ),
        ("{learning_rate: [1e-3, 0.001]}", "recipe must not list a value twice"),
        ("{learning_rate: [1e-3, fast]}", "recipe.learning_rate must be a number"),
        ("{learningrate: [1e-3]}", "unknown key 'learningrate' in recipe; did you mean"),
        ("{batch_size: [4, 6], micro_batch_size: 4}", "does not divide"),
        ("[4, 8]", "recipe"),
        (AXES, "at most 10000"),
    ],
)
def test_axes_that_are_none_are_named(recipe: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, GOOD.replace("{batch_size: 4}", recipe))
    assert said in str(refused.value) and "\n" not in str(refused.value)
