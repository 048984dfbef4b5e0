"""A benchmark is one entry: the command line runs it, help and docs list it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isodiff.cli import main
from isodiff.evaluate.tasks import TASKS, Task, score_items, task_table
from isodiff.serialization import read_result
from isodiff.task_results import ChoiceResult, TaskResult
from tests.cli.tiny_runs import answer, corpus, trained

TOY = Task(
    name="capitals",
    about="capitals of countries",
    source="made up",
    format="query, choices, gold",
    joiner=" => ",
    measure=score_items,
)
LINES = [
    {"query": "France", "choices": ["Paris", "Rome"], "gold": 0},
    {"query": "Italy", "choices": ["Paris", "Rome"], "gold": 1},
    {"query": "Spain", "choices": ["Madrid", "Lisbon", "Oslo"], "gold": 0},
]
DOCS = Path(__file__).parents[2] / "docs" / "benchmarks.md"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setitem(TASKS, TOY.name, TOY)
    return TOY


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    return trained(folder, "autoregressive", corpus(folder))


def test_one_entry_makes_a_task(toy: Task, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "any.jsonl"
    file.write_text("\n".join(map(json.dumps, LINES)))
    found = answer("evaluate", "task", run, file, "--task", toy.name)
    assert found["task"] == "capitals" and found["num_items"] == 3 and found["file"] == "any.jsonl"
    assert found["kind"] == "exact" and found["num_forwards"] == found["num_options"] == 7
    # Its joiner is used: without the task a space joins, and the nats are others.
    stored = read_result(ChoiceResult, run / "tasks" / "capitals.json")
    answer("evaluate", "task", run, file)
    plain = read_result(ChoiceResult, run / "tasks" / "any.json")
    assert stored.items and plain.items and stored.items[0].nats != plain.items[0].nats
    # What a report reads of it is what was printed.
    shown = read_result(TaskResult, run / "tasks" / "capitals.json")
    assert (shown.accuracy, shown.chance) == (found["accuracy"], pytest.approx((1 + 1 / 3) / 3))
    assert shown.provenance is not None and shown.provenance.isodiff is not None


def test_help_and_table_list_it(toy: Task, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "task", "--help"])
    assert stopped.value.code == 0
    assert "capitals" in capsys.readouterr().out
    row = '| `capitals` | capitals of countries | made up | query, choices, gold | `" => "` |'
    assert row in task_table().splitlines()


def test_the_docs_list_every_task() -> None:
    assert task_table() in DOCS.read_text("utf-8")
