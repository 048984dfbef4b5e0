"""`isodiff report`: the verdict, then the page's path on the last line; JSON; bad input."""

import json
from pathlib import Path

import pytest

from isodiff.cli import main
from tests.report.planted import write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, families={"one": 1.0}, budgets=(1e11,), fits=False)
    return folder


def test_verdict_then_path(study, capsys):
    assert main(["report", str(study)]) == 0
    captured = capsys.readouterr()
    *words, last = captured.out.splitlines()
    assert last == str(study / "report.html") and Path(last).exists()
    assert words[0] == "Presidents, small" and captured.err == ""
    assert any(line.startswith("At 1.0e11 training FLOPs") for line in words)
    assert (study / "figures" / "isoflop.svg").exists()


def test_places_are_the_user_s_and_json_is_whole(study, tmp_path, capsys):
    page, figures = tmp_path / "deep" / "page.html", tmp_path / "drawings"
    options = ["--out", str(page), "--figures", str(figures), "--json"]
    assert main(["report", str(study), *options]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["report"] == str(page) and page.exists()
    assert {Path(path).parent for path in value["figures"]} == {figures}
    assert all(Path(path).exists() for path in value["figures"])
    assert value["studies"][0]["num_runs"]["done"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "nothing to report"), (["nowhere"], "nowhere holds no study.json")],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and message in captured.err
