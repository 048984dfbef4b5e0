"""`isodiff table` and `isodiff compare`: one row a run; paired differences with their errors."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_runs

from isodiff.cli import main
from isodiff.evaluate.paired import WindowNats, compared
from isodiff.runs.build import load
from isodiff.runs.spec import RunSpec
from isodiff.runs.validation import noisy_nats


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/: two families, one of them with two learning rates; a run of another length lies elsewhere."""
    place = tmp_path_factory.mktemp("table")
    corpus = tiny_runs.corpus(place)
    tiny_runs.trained(place, "autoregressive", corpus)
    tiny_runs.trained(place, "masked", corpus)
    words = ["--corpus", corpus, "--budget", "2e9", *tiny_runs.WORDS]
    rate = ["--recipe.learning-rate", "0.02"]
    tiny_runs.answer("train", "autoregressive", *words, *rate, "--out", place / "runs")
    other = [*words, "--length", "16"]
    tiny_runs.answer("train", "autoregressive", *other, "--out", place / "other")
    return place


def records(folder: Path) -> dict[str, dict]:
    files = (folder / "runs").glob("*/record.json")
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    capsys.readouterr()
    assert main([*map(str, words)]) == 0
    return capsys.readouterr().out


def test_a_row_says_what_the_record_says(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = said(capsys, "table", folder / "runs", "--csv")
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(text))}
    known = records(folder)
    assert set(rows) == set(known)
    for name, record in known.items():
        row, loss = rows[name], record["results"]["validation"]
        assert float(row["nats"]) == loss["nats_per_token"]["value"]
        assert float(row["standard_error"]) == loss["nats_per_token"]["standard_error"]
        assert float(row["flops"]) == record["flops"]["exact"]
        assert float(row["tokens"]) == record["tokens"]
        assert int(row["parameters"]) == record["parameters"]["non_embedding"]
        rate = record["spec"]["recipe"]["learning_rate"]
        assert float(row["recipe.learning_rate"]) == rate
        assert row["kind"] == loss["kind"]
        if record["spec"]["family"]["name"] == "autoregressive":
            assert row["family"] == f"autoregressive(learning_rate={rate})"
    value = tiny_runs.answer("table", folder / "runs")["runs"]
    assert {row["run"]: row["nats"] for row in value} == {
        name: float(row["nats"]) for name, row in rows.items()
    }


def test_a_table_for_people_shows_what_differs(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copytree(folder / "runs", tmp_path / "runs")
    failed = next((tmp_path / "runs").glob("*/record.json"))
    record = json.loads(failed.read_text())
    del record["checksum"]
    failed.write_text(
        json.dumps({**record, "status": "failed", "message": "a\nline", "results": {}})
    )
    head, *rows = said(capsys, "table", tmp_path / "runs").splitlines()
    assert "recipe.learning_rate" in head and "recipe.batch_size" not in head
    assert len(rows) == 3 and sum(" failed " in f"{row} " for row in rows) == 1
    text = said(capsys, "table", tmp_path / "runs", "--csv")
    (row,) = [one for one in csv.DictReader(io.StringIO(text)) if one["status"] == "failed"]
    assert row["nats"] == "" and row["message"] == "a\nline"


def test_differences_are_those_of_each_window(folder: Path) -> None:
    found = tiny_runs.answer("compare", folder / "runs", "--windows", "40", "--draws", "2")
    base, nats = found["baseline"], {}
    for name in records(folder):
        run = load(folder / "runs" / name)
        tokens, length = run.corpus.split("validation"), run.spec.length
        number = min(40, tokens.num_windows(length))
        chosen = np.random.default_rng(0).permutation(tokens.num_windows(length))[:number]
        import torch

        x = torch.from_numpy(tokens.gather(np.sort(chosen), length))
        draws = 1 if run.family.kind == "exact" else 2
        rows = range(number)
        how = {"rows": rows, "num_rows": number, "draws": range(draws)}
        own = noisy_nats(run.family, run.network, x, **how).mean(1)
        nats[name] = own.numpy() / length
    for row in found["runs"]:
        difference = nats[row["run"]] - nats[base]
        assert row["difference"]["value"] == pytest.approx(difference.mean(), abs=1e-6)
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        assert row["difference"]["standard_error"] == pytest.approx(error, abs=1e-6)
        assert row["nats_per_token"]["value"] == pytest.approx(nats[row["run"]].mean(), abs=1e-6)
    assert base == min(nats, key=lambda name: nats[name].mean())


def test_the_baseline_is_the_run_that_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(records(folder))
    for name in names:
        chosen = ["--baseline", folder / "runs" / name]
        text = said(capsys, "compare", folder / "runs", *chosen, "--windows", "8")
        assert [line.split()[0] for line in text.splitlines() if "baseline" in line] == [name]
    assert not list((folder / "runs").rglob("*.pieces"))


def test_by_default_the_means_are_those_of_the_records(folder: Path) -> None:
    for row in tiny_runs.answer("compare", folder / "runs")["runs"]:
        loss = records(folder)[row["run"]]["results"]["validation"]["nats_per_token"]
        assert row["nats_per_token"]["value"] == pytest.approx(loss["value"], abs=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare"], "give"),
        (["table"], "which runs?"),
        (["compare", "ONE"], "1 finished runs here"),
        (["compare", "RUNS", "OTHER"], "have other lengths, so they share no windows"),
        (["compare", "nowhere"], "nowhere does not exist"),
        (["table", "nowhere"], "nowhere does not exist"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"RUNS": folder / "runs", "OTHER": folder / "other"}
    names["ONE"] = next((folder / "runs").iterdir())
    assert main([str(names.get(word, word)) for word in words]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_common_part_of_the_windows_is_not_in_the_error(folder: Path) -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=4000)
    specs = [RunSpec.read(one) for one in sorted((folder / "runs").iterdir())]
    nats = [3 + hard + 0.01 * rng.normal(size=4000) + 0.002 * i for i in range(3)]
    runs = [
        WindowNats(spec=one, family="x", kind="exact", nats=own)
        for one, own in zip(specs, nats, strict=True)
    ]
    found = compared(runs, specs[0].id, "")
    last = next(row for row in found.runs if row.run == specs[2].id)
    assert last.nats_per_token.standard_error > 0.01
    assert last.difference.standard_error == pytest.approx(0.01 * np.sqrt(2 / 4000), rel=0.05)
    assert abs(last.difference.value - 0.004) < 4 * last.difference.standard_error
