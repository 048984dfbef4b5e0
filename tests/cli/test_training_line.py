"""What training says of a run: what it minimizes, and beside it the likelihood or its bound, by name."""

from __future__ import annotations

import re

import pytest

from isodiff.data.tokens import Corpus
from isodiff.progress import TrainingProgress
from isodiff.record import Record
from isodiff.runs.spec import RunSpec
from isodiff.serialization import read_result
from isodiff.train.loop import train
from tests.cli.tiny_runs import corpus, trained

NAMED = {"masked": "bound <=", "autoregressive": "exact =", "uniform": "bound <="}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("text"))


@pytest.mark.parametrize(("family", "name"), NAMED.items())
def test_the_last_line_has_the_objective_and_what_was_measured(
    tmp_path, text, capsys, family, name
):
    capsys.readouterr()
    record = read_result(Record, trained(tmp_path, family, text) / "record.json")
    line = capsys.readouterr().err.splitlines()[-1]
    found = re.search(rf"objective (\S+), {name} (\S+) nats/token", line)
    assert found, line
    assert float(found[2]) == pytest.approx(record.curve[-1].nats_per_token, abs=6e-4)
    assert float(found[1]) != float(found[2])


def test_what_was_measured_is_known_at_once_after_an_interruption(tmp_path, text):
    folder = trained(tmp_path, "masked", text)
    spec, curve = RunSpec.read(folder), read_result(Record, folder / "record.json").curve
    said: list[TrainingProgress] = []

    def stop(progress: TrainingProgress) -> None:
        said.append(progress)
        if progress.step == curve[0].step + 2:
            raise KeyboardInterrupt

    again, opened = tmp_path / "again", Corpus.open(text)
    with pytest.raises(KeyboardInterrupt):
        train(spec, again, opened, report=stop, checkpoint_seconds=0.0)
    assert said[0].held_out is None
    assert said[-1].held_out == curve[0].nats_per_token
    said.clear()
    train(spec, again, opened, report=said.append)
    assert said[0].step == curve[0].step + 2
    assert said[0].held_out == curve[0].nats_per_token
