"""`isodiff evaluate task` on tiny runs of every family: what it says, writes and refuses."""

import json
from pathlib import Path

import pytest

from isodiff.cli import main
from isodiff.families import FAMILIES
from tests.cli.tiny_runs import answer, corpus, trained

CHOICES = [
    {"query": "Question: what is wet?\n", "choices": ["the sea", "a stone"], "gold": 0},
    {"query": "Fellow", "choices": ["citizens of the Senate", "xqz"], "gold": 0},
    {"query": "We", "choices": ["shall", "not", "will"], "gold": 2},
]
PRONOUNS = [
    {
        "context_options": ["The cup fell on the rug; the cup", "The cup fell on the rug; the rug"],
        "continuation": "broke.",
        "gold": 0,
    }
]
PASSAGES = [
    {"context": "citizens of the", "continuation": "Senate"},
    {"context": "and House of", "continuation": "Representatives"},
]
KEYS = {
    "accuracy",
    "accuracy_interval",
    "accuracy_per_byte",
    "undecided",
    "num_forwards",
    "num_items",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("benchmarks")
    corpus(made)
    return made


class Runs(dict[str, Path]):
    """A tiny run of each family, trained when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __missing__(self, family: str) -> Path:
        self[family] = trained(self.folder, family, self.folder / "corpus")
        return self[family]


@pytest.fixture(scope="module")
def runs(folder) -> Runs:
    return Runs(folder)


def lines(folder: Path, name: str, values: list) -> Path:
    file = folder / f"{name}.jsonl"
    file.write_text("\n".join(v if isinstance(v, str) else json.dumps(v) for v in values))
    return file


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_choices_of_every_family(folder, runs, family):
    file = lines(folder, "choices", CHOICES)
    said = answer("evaluate", "task", runs[family], file, "--draws", "4", "--threads", "1")
    assert said.keys() >= KEYS and said["num_items"] == 3 and said["num_malformed"] == 0
    assert said["family"] == family and said["task"] == "choices"
    low, high = said["accuracy_interval"]
    assert 0 <= low <= said["accuracy"] <= high <= 1
    exact = FAMILIES[family].usual_kind == "exact"
    assert (said["num_forwards"] == 7) == exact
    assert said["kind"] == FAMILIES[family].usual_kind and said["chance"] == pytest.approx(4 / 9)
    written = json.loads((runs[family] / "tasks" / "choices.json").read_text())
    assert {key: written[key] for key in said} == said
    assert [one["line"] for one in written["items"]] == [1, 2, 3]
    right = sum(one["chosen"] == one["gold"] for one in written["items"])
    assert right / 3 == pytest.approx(said["accuracy"])
    again = answer("evaluate", "task", runs[family], file, "--draws", "4", "--batch-tokens", "64")
    assert again == said


@pytest.mark.parametrize("family", ["autoregressive", "masked"])
def test_pronouns_and_passages(folder, runs, family):
    file = lines(folder, "pronouns", PRONOUNS)
    said = answer(
        "evaluate", "task", runs[family], file, "--task", "winogrande", "--draws", "8", "--pmi"
    )
    assert said["num_items"] == 1 and said["task"] == "winogrande"
    assert said["accuracy_pmi"] == said["accuracy"] == said["accuracy_per_byte"]
    said = answer(
        "evaluate", "task", runs[family], lines(folder, "words", PASSAGES), "--task=lambada"
    )
    assert said["num_items"] == 2 and said["perplexity"] > 1 and "accuracy_interval" in said
    assert (runs[family] / "tasks" / "lambada.json").exists()


@pytest.mark.parametrize("family", ["autoregressive", "masked"])
def test_zero_shot_perplexity_of_a_detokenized_text(folder, runs, family):
    """Read by the rules that the task states: the same as of the text without the marks."""
    marked, plain = folder / "marked.txt", folder / "plain.txt"
    marked.write_text(" = = Union = = \n the people 's union , 1 @,@ 000 strong . \n")
    plain.write_text("== Union ==\nthe people's union, 1,000 strong.\n")
    said = answer("evaluate", "task", runs[family], marked, "--task", "wikitext")
    same = answer("evaluate", "task", runs[family], plain, "--task", "plain_text")
    assert said["num_bytes"] == same["num_bytes"] + 1  # the space at its start
    assert said["bits_per_byte"] == pytest.approx(same["bits_per_byte"], rel=0.1)
    assert said["protocol"].startswith("detokenization wikitext; windows of at most 32 tokens")
    assert said["kind"] == same["kind"] == FAMILIES[family].usual_kind
    assert (runs[family] / "tasks" / "wikitext.json").exists()


def test_what_is_said_to_people(folder, runs, capsys):
    file = lines(folder, "mixed", [CHOICES[0], "{broken", CHOICES[1]])
    assert main(["evaluate", "task", str(runs["autoregressive"]), str(file)]) == 0
    said = capsys.readouterr()
    assert "autoregressive on mixed: accuracy" in said.out and "chance 50.0%" in said.out
    assert "2 items, 4 forwards; 1 malformed line skipped (exact" in said.out
    assert f"isodiff evaluate: {file} line 2: not JSON" in said.err


@pytest.mark.parametrize("kind", ["choices", "words"])
def test_items_that_are_too_long_are_counted_in_the_headline(folder, runs, capsys, kind):
    """And are not among the malformed; those with a context that is cut are counted too."""
    long = "very " * 8
    if kind == "choices":
        values = [*CHOICES, CHOICES[0] | {"choices": ["no", long]}, CHOICES[1] | {"query": long}]
    else:
        values = [
            *PASSAGES,
            {"context": "a", "continuation": long},
            {"context": long} | PASSAGES[0],
        ]
        values[-1]["context"] = long
    file, num = lines(folder, f"long_{kind}", [*values, "{broken"]), len(values)
    assert main(["evaluate", "task", str(runs["autoregressive"]), str(file)]) == 0
    said = capsys.readouterr()
    headline = f"{1 / num:.1%} of the items (1 of {num}) too long and left out"
    assert headline in said.out and "1 malformed line skipped" in said.out
    assert "shortened" in said.out
    assert (
        f"{file}: 1 items are too long (lines {num - 1}); a run of 41 tokens takes all" in said.err
    )
    found = answer("evaluate", "task", runs["autoregressive"], file)
    assert found["num_too_long"] == 1 and found["share_too_long"] == pytest.approx(1 / num)
    assert found["too_long"] == [num - 1] and found["num_items"] == num - 1
    assert found["num_malformed"] == 1 and [one["line"] for one in found["malformed"]] == [num + 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{file}", "--task", "pica"], "no task 'pica'; did you mean 'piqa'?"),
        (["{file}", "--task", "hellasvag"], "did you mean 'hellaswag'?; tasks: arc_easy"),
        (["--task", "piqa"], "give FILE"),
        (["{empty}"], "empty.jsonl has no item; give JSON lines with query"),
        (["{nowhere}"], "nowhere.jsonl is not a file"),
        (
            ["{long}"],
            "no item that fits; 1 are too long: targets have up to 41 tokens, the run takes 32",
        ),
        (["{file}", "--draws", "0"], "draws must be at least 1, got 0"),
        (["{file}", "--error", "1.5"], "error must be less than 1, got 1.5"),
        (["{file}", "--limit", "0"], "limit must be at least 1, got 0"),
        (["{file}", "--task", "piqa", "--joiner", ""], "has a joiner of its own"),
        (["{file}", "--harness", "arc_easy"], "no option --harness"),
    ],
)
def test_bad_input_is_one_line(folder, runs, capsys, words, message):
    files = {
        "file": lines(folder, "choices", CHOICES),
        "empty": lines(folder, "empty", []),
        "long": lines(folder, "long", [{"query": "q", "choices": ["x" * 40, "y"], "gold": 0}]),
        "nowhere": folder / "nowhere.jsonl",
    }
    observed = [word.format(**files) for word in words]
    assert main(["evaluate", "task", str(runs["masked"]), *observed]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said


def test_held_out_text_is_still_evaluated(runs):
    said = answer("evaluate", "split", runs["masked"], "--windows", "4", "--draws", "1")
    assert said["split"] == "test" and said["kind"] == "bound"
