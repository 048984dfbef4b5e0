"""lm-evaluation-harness itself, offline, on local tasks: choices, rolling likelihood, written answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.tiny_runs import corpus, trained

pytest.importorskip("lm_eval", reason="needs the extra `harness`")

QUESTIONS = [
    {"question": "What is wet?", "choices": ["the sea", "a stone", "a desert"], "gold": 0},
    {"question": "What burns?", "choices": ["water", "wood", "sand"], "gold": 1},
    {"question": "Fellow", "choices": ["xqz", "jjj", "citizens"], "gold": 2},
    {"question": "What is round?", "choices": ["a ball", "a brick", "a book"], "gold": 0},
]
CHOICE = """
task: local_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
metric_list:
  - metric: acc
  - metric: acc_bytes
  - metric: acc_mutual_info
"""
WORD = """
task: local_word
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
output_type: loglikelihood
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: " {{{{choices[0]}}}}"
metric_list: [{{metric: perplexity}}, {{metric: acc}}]
"""
ROLLING = """
task: local_rolling
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/texts.jsonl}}}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: bits_per_byte}}]
"""
WRITING = """
task: local_writing
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[0]}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 8}}
metric_list: [{{metric: exact_match}}]
"""
TEXTS = [{"text": "the people of the United States, in order to form a more perfect union"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Tasks, their data, and a run of two families."""
    made = tmp_path_factory.mktemp("harness")
    tasks = {"choice": CHOICE, "word": WORD, "rolling": ROLLING, "writing": WRITING}
    (made / "tasks").mkdir()
    for name, text in tasks.items():
        (made / "tasks" / f"{name}.yaml").write_text(text.format(folder=made))
    for name, rows in (("questions", QUESTIONS), ("texts", TEXTS)):
        (made / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus(made)
    return made


@pytest.fixture(scope="module")
def runs(folder) -> dict[str, Path]:
    names, corpus = ("autoregressive", "masked"), folder / "corpus"
    return {name: trained(folder, name, corpus, "7e8") for name in names}


DRIVER = """
import json, sys
from isodiff.cli import main
from isodiff.interop import lm_eval as ours
tasks, runs = sys.argv[1], sys.argv[2:]
for run in runs:
    for task in ("choice", "word", "rolling", "writing"):
        words = ["evaluate", "harness", run, f"local_{task}", "--include-path", tasks]
        assert main([*words, "--draws", "4", "--steps", "8", "--json"]) == 0
assert main(["evaluate", "harness", run, "local_choise", "--include-path", tasks]) == 2
found = ours.evaluator.simple_evaluate(
    model="isodiff",
    model_args=f"run={run},draws=4",
    tasks=["local_choice"],
    task_manager=ours.TaskManager(include_path=tasks, include_defaults=False),
)
print(json.dumps(found["results"]["local_choice"]["acc,none"]))
"""


@pytest.fixture(scope="module")
def said(folder, runs) -> subprocess.CompletedProcess:
    """All tasks of both runs in a process without a network, its caches in a folder of its own."""
    own = {"HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    own |= {"HOME": str(folder), "OMP_NUM_THREADS": "1"}
    own |= {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, folder / "tasks", *runs.values()],
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def answers(said) -> dict[tuple[str, str], dict]:
    found = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    return {(one["family"], one["task"].removeprefix("local_")): one for one in found}


@pytest.fixture(params=["autoregressive", "masked"])
def family(request) -> str:
    return request.param


def forwards(family: str) -> int:
    """Of an option: one, or all masks once and the draws."""
    return 1 if family == "autoregressive" else 1 + 4


@pytest.mark.slow
def test_multiple_choice(answers, family, runs):
    found = answers[family, "choice"]
    assert found["num_items"] == 4 and set(found["metrics"]) >= {"acc", "acc_bytes"}
    assert found["accuracy"] == found["metrics"]["acc"]
    low, high = found["accuracy_interval"]
    assert 0 <= low <= found["accuracy"] <= high <= 1
    # Every option with its question and without it.
    assert found["num_forwards"] == 4 * 3 * 2 * forwards(family)
    written = json.loads((runs[family] / "tasks" / "local_choice.json").read_text())
    assert {key: written[key] for key in found} == found


@pytest.mark.slow
def test_likelihood_of_a_word(answers, family):
    found = answers[family, "word"]
    assert found["metrics"]["perplexity"] > 1 and 0 <= found["accuracy"] <= 1
    assert found["num_forwards"] > 2 * 4, "the words are written too"


@pytest.mark.slow
def test_rolling_likelihood(answers, family):
    found = answers[family, "rolling"]
    assert 0 < found["metrics"]["bits_per_byte"] < 20
    pieces = -(-len(TEXTS[0]["text"]) // 32)
    assert pieces <= found["num_forwards"] <= pieces * (1 if family == "autoregressive" else 65)


@pytest.mark.slow
def test_written_answers(answers, family):
    found = answers[family, "writing"]
    assert found["metrics"]["exact_match"] == 0 and found["num_forwards"] > 0


@pytest.mark.slow
def test_an_unknown_task_is_named(said):
    assert "has no task 'local_choise'; did you mean 'local_choice'?" in said.stderr


@pytest.mark.slow
def test_the_harness_finds_the_model_by_name(said, answers):
    assert json.loads(said.stdout.splitlines()[-1]) == answers["masked", "choice"]["accuracy"]
