"""Shared prefixes in a study: who shares what, what it saves, and that nobody waits for ever."""

import dataclasses
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_end_to_end import corpus, isodiff  # noqa: F401  (a fixture)

from isodiff.cli.plan_text import plan_table
from isodiff.network.shape import Shape
from isodiff.runs.spec import CorpusIdentity, Recipe, RunSpec
from isodiff.serialization import from_json, to_json
from isodiff.study.branching import BranchPoint, branch_points, with_shared_warmup
from isodiff.study.jobs import Job, PlannedRun, StepSeconds
from isodiff.study.plan import fit_to, speed_key
from isodiff.study.workers import JobFailed, Workers


def spec(budget: float, shape: str = "6k", **changes: Any) -> RunSpec:
    parts: dict[str, Any] = {
        "family": {"name": "masked"},
        "shape": Shape.parse(shape),
        "length": 32,
        "corpus": CorpusIdentity(hash="x", vocab_size=257, tokenizer="bytes"),
        "recipe": Recipe(schedule="wsd"),
    }
    return RunSpec(budget=budget, **{**parts, **changes})


def test_budgets_of_one_kind_share_the_warm_up_of_the_smallest():
    specs = [spec(1e9), spec(4e9), spec(9e9), spec(4e9, "10k"), spec(4e9, seed=1)]
    warm = with_shared_warmup(specs, [200, 800, 1800, 400, 800])
    assert [one.recipe.warmup_steps for one in warm] == [10, 10, 10, 20, 40]
    assert [one.recipe.rate(9, 10**4) for one in warm] == [1, 1, 1, 0.5, 0.25]
    # As the study says, where it says so; and nothing for other schedules.
    own = [spec(b, recipe=Recipe(schedule="wsd", warmup_steps=7)) for b in (1e9, 4e9)]
    assert with_shared_warmup(own, [200, 800]) == own
    cosine = [spec(b, recipe=Recipe()) for b in (1e9, 4e9)]
    assert with_shared_warmup(cosine, [200, 800]) == cosine


def test_the_others_branch_off_the_longest():
    specs = [spec(4e9), spec(1e9), spec(9e9), spec(4e9, "10k"), spec(4e9, seed=1)]
    steps = [800, 200, 1800, 400, 800]
    warm = with_shared_warmup(specs, steps)
    longest = warm[2].id
    alone = BranchPoint()
    want = [BranchPoint(longest, 640), BranchPoint(longest, 160), alone, alone, alone]
    assert branch_points(warm, steps) == want
    adapting = [dataclasses.replace(one, family={"name": "x", "adapt_every": 30}) for one in warm]
    assert branch_points(adapting, steps) == [alone] * 5
    assert branch_points([warm[0], warm[0]], [800, 800]) == [alone, alone]


def planned(one: RunSpec, steps: int, branch: BranchPoint) -> PlannedRun:
    counts = {"tokens": 1e6, "epochs": 0.1, "parameters": 10**4, "weight_bytes": 10**5}
    more = {"step_flops": 1e6, "step_positions": 512, "seconds": 0.0}
    prefix = {"prefix_of": branch.longest, "prefix_steps": branch.step}
    return PlannedRun(id=one.id, spec=one, steps=steps, **counts, **more, **prefix)


def test_the_plan_counts_what_is_to_be_trained():
    specs, steps = [spec(1e9), spec(9e9)], [1000, 9000]
    specs = with_shared_warmup(specs, steps)
    runs = [planned(*one) for one in zip(specs, steps, branch_points(specs, steps), strict=True)]
    timed = StepSeconds(step=0.01, evaluation=1.0)
    assert [run.trained_flops for run in runs] == [2e8, 9e9]
    assert [run.wall_seconds(timed) for run in runs] == pytest.approx([3.3, 91.3])
    text = plan_table(runs, 1)
    assert "9.2e9 FLOPs to train, 8.0e8 FLOPs (8%) saved" in text.splitlines()[-1]
    factor = fit_to(runs, {speed_key(specs[0]): timed}, 1, 600.0)
    assert factor * 9200 * 0.01 + 2 * 1.3 == pytest.approx(600)
    alone = [planned(one, n, BranchPoint()) for one, n in zip(specs, steps, strict=True)]
    assert "saved" not in plan_table(alone, 1)


def test_a_plan_written_before_prefixes_were_shared_is_read():
    value = to_json(planned(spec(1e9), 1000, BranchPoint()))
    del value["trunk"], value["start"]
    assert from_json(PlannedRun, value, "plan.json").trained_flops == 1e9


@dataclasses.dataclass(frozen=True)
class FakeJob(Job[int]):
    index: int
    seconds: float
    fails: bool


class Fake:
    """A worker that sleeps, and fails at some jobs."""

    def __init__(self, began: list[int], lock: threading.Lock) -> None:
        self.began, self.lock = began, lock

    def ask(self, job: FakeJob, progress: Any) -> int:
        with self.lock:
            self.began.append(job.index)
        time.sleep(job.seconds)
        if job.fails:
            raise JobFailed("on purpose")
        return job.index


def pool(count: int) -> tuple[Workers, list[int]]:
    began: list[int] = []
    workers, lock = Workers.__new__(Workers), threading.Lock()
    workers.members = [Fake(began, lock) for _ in range(count)]  # type: ignore[list-item]
    return workers, began


@settings(max_examples=25, deadline=None)
@given(data=st.data(), count=st.integers(1, 4), size=st.integers(1, 12))
def test_every_job_is_done_once_and_after_what_it_waits_for(data, count, size):
    after = [data.draw(st.none() | st.integers(0, max(0, i - 1))) for i in range(size)]
    after[0] = None
    workers, began = pool(count)
    over: list[int] = []

    def ready(index: int) -> bool:
        return after[index] is None or after[index] in over

    jobs = [FakeJob(i, 0.001, data.draw(st.booleans())) for i in range(size)]
    workers.share(jobs, lambda i, answer: over.append(i), lambda i, share: None, ready)
    assert sorted(over) == sorted(began) == list(range(size))
    for index, first in enumerate(after):
        assert first is None or over.index(first) < over.index(index)


def test_what_can_never_be_ready_is_done_in_the_end():
    workers, began = pool(2)
    jobs = [FakeJob(i, 0.0, False) for i in range(3)]
    workers.share(jobs, lambda i, answer: None, lambda i, share: None, lambda i: i == 1)
    assert sorted(began) == [0, 1, 2] and began[0] == 1


STUDY = """
name: prefixes
corpus: {{prepared: {corpus}}}
length: 32
families: [autoregressive, {{name: block, block_size: 4, adapt_every: 40}}]
budgets:
  - {{flops: 8e8, shapes: [1x12x1, 1x16x1]}}
  - {{flops: 16e8, shapes: [1x12x1, 1x16x1]}}
  - {{flops: 24e8, shapes: [1x16x1]}}
recipe: {{batch_size: 4, learning_rate: 1e-2, precision: float32, schedule: wsd}}
validation: {{windows: 64, draws: 1, curve_points: 3, curve_windows: 16}}
sampling: {{texts: 2, steps: 8}}
frontier: null
"""


@pytest.mark.slow
def test_a_study_with_shared_prefixes_from_plan_to_report(tmp_path, corpus):  # noqa: F811
    study, out = tmp_path / "prefixes.yaml", tmp_path / "out"
    study.write_text(STUDY.format(corpus=corpus))
    plan = isodiff("plan", "study", str(study), "--out", str(out), "--workers", "2")
    assert plan.returncode == 0, plan.stderr
    assert "saved" in plan.stdout.splitlines()[-1] and "trained" in plan.stdout.splitlines()[0]
    words = ("study", str(study), "--out", str(out), "--workers", "2", "--bootstrap", "20")
    done = isodiff(*words)
    assert done.returncode == 0, done.stderr
    records = {p.parent.name: json.loads(p.read_text()) for p in out.glob("runs/*/record.json")}
    assert len(records) == 10
    assert all(record["status"] == "done" for record in records.values())
    branches = {name: record for name, record in records.items() if record["trunk"]}
    assert (
        len(branches) == 3
    )  # 2 + 1 of the autoregressive family; runs that adapt go their own way
    for record in branches.values():
        assert record["spec"]["family"]["name"] == "autoregressive"
        assert records[record["trunk"]["run"]]["trunk"] is None
        assert record["flops"]["trained"] < 0.22 * record["flops"]["exact"]
    total = json.loads((out / "study.json").read_text())["flops"]
    assert total["trained"] == pytest.approx(sum(r["flops"]["trained"] for r in records.values()))
    planned_runs = json.loads((out / "plan.json").read_text())["runs"]
    fixed = [r for r in planned_runs if r["spec"]["family"]["name"] == "autoregressive"]
    want = sum((r["steps"] - r["start"]) * r["step_flops"] for r in fixed)
    assert want == pytest.approx(sum(records[r["id"]]["flops"]["trained"] for r in fixed))
    page = (out / "report.html").read_text()
    assert "began at their cooldowns" in page
    # The same run by itself, in a process of its own.
    name, record = min(branches.items())
    code = (
        "import json, sys, torch\nfrom pathlib import Path\n"
        "from isodiff.data.tokens import Corpus\nfrom isodiff.train.loop import train\n"
        "from isodiff.runs.spec import RunSpec\ntorch.set_num_threads(1)\n"
        "spec = RunSpec.from_json(json.loads(sys.argv[1]))\n"
        "train(spec, Path(sys.argv[2]), Corpus.open(Path(sys.argv[3])))\n"
    )
    argv = [sys.executable, "-c", code, json.dumps(record["spec"]), str(tmp_path / "alone")]
    subprocess.run([*argv, str(corpus)], check=True)
    alone = json.loads((tmp_path / "alone" / "record.json").read_text())
    assert alone["id"] == name and alone["trunk"] is None
    assert alone["results"] == record["results"] and alone["curve"] == record["curve"]
    weights = [
        sorted(place.glob("checkpoint/step_*"))[-1] / "model.safetensors"
        for place in (tmp_path / "alone", out / "runs" / name)
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_paths_of_runs_are_enough_to_tell_a_beginning(tmp_path):
    from isodiff.study.runner import begun

    run = planned(spec(1e9), 1000, BranchPoint())
    place: Path = tmp_path / "runs" / run.id / "checkpoint"
    (place / ".step_00000800.tmp").mkdir(parents=True)
    assert not begun(tmp_path, run), "half-written"
    (place / "step_00000800").mkdir()
    assert begun(tmp_path, run)
