"""A run folder written under earlier names is read, keeps its identity, loads and resumes."""

import hashlib
import json

import pytest
from specs import small
from test_resume import interrupted, newest

from isodiff.record import read_records
from isodiff.runs import checkpoint
from isodiff.runs.build import load
from isodiff.runs.spec import RunSpec
from isodiff.serialization import from_json, to_json
from isodiff.study.plan import StudyPlan
from isodiff.train.loop import train
from isodiff.upgrade import as_first_named, upgraded

NAMES = {"adapt_every": "tune_every", "parametrization": "parametrisation"}


def in_first_names(path) -> dict:
    """The file with its names as they were; every one must have stood there."""
    text = path.read_text()
    for name, first in NAMES.items():
        text = text.replace(f'"{name}"', f'"{first}"')
    value = json.loads(text)
    del value["checksum"]  # which they did not have
    path.write_text(json.dumps(value))
    return value


def test_a_folder_under_earlier_names_is_gone_on_with(corpus, tmp_path):
    options = {"block_size": 4, "objective": "nelbo", "adapt_every": 30}
    recipe = {"precision": "float32", "learning_rate": 1e-2, "parametrization": "complete_p"}
    spec = small(corpus, "block", options=options, recipe=recipe)
    train(spec, tmp_path / "straight", corpus)
    old = tmp_path / spec.id
    interrupted(spec, old, corpus, 40)
    written = in_first_names(old / "spec.json")
    assert written["family"]["tune_every"] == 30
    assert written["recipe"]["parametrisation"] == "complete_p"
    text = json.dumps(written, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == spec.id
    in_first_names(checkpoint.steps(old / "checkpoint")[-1] / "state.json")
    assert RunSpec.read(old) == spec
    assert load(old).family.adapt_every == 30
    assert train(spec, old, corpus).status == "done"
    assert newest(tmp_path / "straight") == newest(old)
    # Its record counts for the same family as one written today.
    in_first_names(old / "record.json")
    (record,) = read_records([old])
    assert record.spec.family == spec.family and record.id == spec.id


def test_other_names_make_another_run(corpus):
    """Only the names that were changed are translated."""
    spec = small(corpus)
    value = to_json(spec)
    assert upgraded(as_first_named(value)) == value
    with pytest.raises(ValueError, match="parametrizing"):
        RunSpec.from_json({**value, "recipe": {**value["recipe"], "parametrizing": "standard"}})


def test_plans_of_studies_too(corpus):
    spec = small(corpus, "block", options={"block_size": 4, "adapt_every": 30})
    run = {"id": spec.id, "spec": as_first_named(to_json(spec)), "steps": 100, "step_flops": 1.0}
    run |= {"tokens": 1, "epochs": 1.0, "parameters": 1, "weight_bytes": 1.0, "step_positions": 1}
    plan = from_json(
        StudyPlan, {"id": "x", "study": {}, "minutes": None, "runs": [run]}, "plan.json"
    )
    assert plan.runs[0].spec == spec
