"""lm-evaluation-harness itself, offline, on local tasks: choices, rolling likelihood, written answers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.tiny_runs import corpus, trained

pytest.importorskip("lm_eval", reason="needs the extra `harness`")

DRIVER = Path(__file__).with_name("offline_harness.py")
QUESTIONS = [
    {"question": "What is wet?", "choices": ["the sea", "a stone", "a desert"], "gold": 0},
    {"question": "What burns?", "choices": ["water", "wood", "sand"], "gold": 1},
    {"question": "Fellow", "choices": ["xqz", "jjj", "citizens"], "gold": 2},
    {"question": "What is round?", "choices": ["a ball", "a brick", "a book"], "gold": 0},
]
CHOICE = """
task: local_choice
tag: local_tag
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
tag: [local_tag]
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
FILTERS = """
task: local_filters
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "[invalid]"
generation_kwargs: {{until: "\n", max_tokens: 8}}
filter_list:
  - name: any
    filter: [{{function: regex, regex_pattern: "(.)"}}, {{function: take_first}}]
  - name: never
    filter: [{{function: regex, regex_pattern: "(QQQQ)"}}, {{function: take_first}}]
metric_list: [{{metric: exact_match}}]
"""
REPEATS = """
task: local_repeats
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "a"
repeats: 3
generation_kwargs: {{until: "\n", max_new_tokens: 8, temperature: 1.0}}
process_results: !function repeats.different
filter_list: [{{name: all, filter: [{{function: take_first_k, k: 3}}]}}]
metric_list: [{{metric: different, aggregation: mean, higher_is_better: true}}]
"""
DIFFERENT = """
def different(doc, results):
    return {"different": float(len(set(results[0])))}
"""
GROUP = """
group: local_group
task: [local_choice, local_word]
aggregate_metric_list: [{{metric: acc, weight_by_size: true}}]
"""
BROKEN = """
task: local_broken
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/nowhere.jsonl}}}}
output_type: loglikelihood
test_split: test
doc_to_text: ""
doc_to_target: ""
"""
TEXTS = [{"text": "the people of the United States, in order to form a more perfect union"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Tasks, their data, and a run of two families."""
    made = tmp_path_factory.mktemp("harness")
    tasks = {"choice": CHOICE, "word": WORD, "rolling": ROLLING, "writing": WRITING}
    tasks |= {"filters": FILTERS, "repeats": REPEATS, "group": GROUP, "broken": BROKEN}
    (made / "tasks").mkdir()
    for name, text in tasks.items():
        (made / "tasks" / f"{name}.yaml").write_text(text.format(folder=made))
    (made / "tasks" / "repeats.py").write_text(DIFFERENT)
    for name, rows in (("questions", QUESTIONS), ("texts", TEXTS)):
        (made / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus(made)
    return made


@pytest.fixture(scope="module")
def runs(folder) -> dict[str, Path]:
    names, corpus = ("autoregressive", "masked"), folder / "corpus"
    return {name: trained(folder, name, corpus, "7e8") for name in names}


@pytest.fixture(scope="module")
def said(folder, runs) -> subprocess.CompletedProcess:
    """All tasks of both runs in a process without a network, its caches in a folder of its own."""
    own = {"HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    own |= {"HOME": str(folder), "OMP_NUM_THREADS": "1"}
    own |= {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, DRIVER, folder / "tasks", *runs.values()],
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def answers(said) -> dict[tuple[str, str], dict]:
    found = [json.loads(line) for line in said.stdout.splitlines() if line.startswith('{"task"')]
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


@pytest.fixture(scope="module")
def compared(said) -> dict[str, Any]:
    """One network to the harness as a Hugging Face model and as ours."""
    return json.loads(said.stdout.splitlines()[-1])


@pytest.mark.slow
def test_settings_mean_what_they_mean_for_a_hugging_face_model(compared):
    """The tokens given, the room, the temperature, and the text where each token is the likeliest."""
    for settings, reference, found in compared["settings"]:
        assert found == reference, settings
    temperatures = {reference[2] for _, reference, _ in compared["settings"]}
    rooms = {reference[1] for _, reference, _ in compared["settings"]}
    assert temperatures == {0.0, 0.5} and rooms >= {2, 4, 5, 6, 7, 8, 10, 24, 25}


@pytest.mark.slow
def test_results_are_those_of_a_hugging_face_model(compared):
    reference, found = compared["results"]
    assert found.keys() == reference.keys() >= {"local_group", "local_choice", "local_filters"}
    for task, metrics in reference.items():
        assert found[task] == pytest.approx(metrics, rel=1e-4), task


@pytest.mark.slow
def test_every_filter_has_its_score(answers):
    found = answers["autoregressive", "filters"]["metrics"]
    assert found.keys() == {"exact_match,any", "exact_match,never"}
    assert found["exact_match,any"] < 1 == found["exact_match,never"]


@pytest.mark.slow
def test_a_group_has_its_own_scores_and_those_of_its_tasks(answers, runs):
    group, parts = answers["autoregressive", "group"], ("choice", "word")
    own = [answers["autoregressive", name] for name in parts]
    assert [one["metrics"] for one in group["parts"]] == [one["metrics"] for one in own]
    assert group["metrics"] == {"acc": sum(one["accuracy"] for one in own) / 2}
    assert group["num_items"] == 8 and group["accuracy_interval"][0] < group["accuracy"]
    written = json.loads((runs["autoregressive"] / "tasks" / "local_group.json").read_text())
    assert written["parts"] == group["parts"]


@pytest.mark.slow
def test_a_tag_is_its_tasks(answers, runs):
    tag = answers["autoregressive", "tag"]
    assert [one["task"] for one in tag["parts"]] == ["local_choice", "local_word"]
    assert tag["metrics"] == {} and "accuracy" not in tag and tag["num_items"] == 8
    assert not (runs["autoregressive"] / "tasks" / "local_tag.json").exists()


@pytest.mark.slow
def test_repeats_of_a_request_are_drawn_anew(answers, family):
    assert answers[family, "repeats"]["metrics"]["different,all"] > 2


@pytest.mark.slow
def test_what_cannot_run_is_one_line(said):
    lines = [line for line in said.stderr.splitlines() if line.startswith("isodiff evaluate")]
    unknown, broken = lines
    assert "has no task 'local_chioce'; did you mean 'local_choice'?" in unknown
    assert "cannot load 'local_broken': FileNotFoundError: " in broken


@pytest.mark.slow
def test_the_harness_finds_the_model_by_name(compared, answers):
    assert compared["by_name"] == answers["masked", "choice"]["accuracy"]
