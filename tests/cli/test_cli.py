"""The command line as a whole: help, verbs, errors, completion, and what may not be imported."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isodiff import cli
from isodiff.cli import dispatch, main
from isodiff.cli.dispatch import verbs
from isodiff.cli.verb import Answer

VERBS = verbs()
TOY = '''"""Say hello, as a toy does."""

from isodiff.cli.verb import Answer


def run(*, name: str = "world") -> Answer:
    """Greet.

    Args:
        name: Who is greeted.
    """
    return Answer({"hello": name}, f"hello {name}")
'''


def code(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    try:
        assert main([*words, "--help"]) == 0
    except SystemExit as stop:
        assert stop.code == 0
    return capsys.readouterr().out


def commands(verb: str) -> list[str]:
    """The words that may follow a verb; none where it does one thing."""
    found = getattr(__import__(f"isodiff.cli.{verb}", fromlist=["_"]), "COMMANDS", None)
    return [] if found is None else list(found.functions)


WAYS = [(verb, *more) for verb in VERBS for more in [(one,) for one in commands(verb)] or [()]]


@pytest.mark.parametrize(
    "words", [[], ["plan"], ["plan", "budget"], ["plan", "next"], ["fit"], ["report"]]
)
def test_help_and_light_verbs_import_no_torch(words):
    done = code(
        "import sys\n"
        "from isodiff.cli import main\n"
        f"try: main({[*words, '--help']!r})\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        f"assert {bool(words)} or 'tyro' not in sys.modules, 'the list of verbs needs no parser'\n"
    )
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


@pytest.mark.parametrize(
    "words", [["--help"], ["sample", "--help"], ["families"], ["families", "--json"]]
)
def test_a_reader_who_has_seen_enough_is_no_error(words):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "isodiff.cli", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_fit_and_plan_run_without_torch(tmp_path):
    done = code(
        "import sys\n"
        "from isodiff.cli import main\n"
        "assert main(['fit', 'published:2602.15014', '--bootstrap', '20', '--json']) == 0\n"
        "assert main(['plan', 'study', 'missing.yaml']) == 2\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert main(['plan', 'budget', '1e21', '--law', 'published:2510.03280']) == 0\n"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["families"]


def test_a_verb_is_one_file(monkeypatch, tmp_path, capsys):
    for file in Path(cli.__file__).parent.glob("*.py"):
        shutil.copy(file, tmp_path)
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(dispatch, "__file__", str(tmp_path / "dispatch.py"))
    monkeypatch.setattr(cli, "__path__", [str(tmp_path)])
    assert re.search(r"^  toy +Say hello, as a toy does\.$", help_of(capsys), re.MULTILINE)
    assert re.search(r"--name TEXT +Who is greeted\. \(default: world\)", help_of(capsys, "toy"))
    assert main(["toy", "--name", "you", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"hello": "you"}
    assert main(["toy", "--nmae", "you"]) == 2
    assert capsys.readouterr().err == "isodiff toy: no option --nmae; did you mean '--name'?\n"
    sys.modules.pop("isodiff.cli.toy")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_verbs_commands_options_and_choices(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["--tyro-print-completion", "bash"])
    assert not stop.value.code
    (tmp_path / "isodiff.bash").write_text(capsys.readouterr().out)
    lines = {
        "isodiff fi": {"finetune", "fit"},
        "isodiff plan bu": {"budget"},
        "isodiff train masked --recipe.sche": {"--recipe.schedule"},
        "isodiff train masked --recipe.schedule ": {"cosine", "wsd"},
        "isodiff sample runs/1 --ord": {"--order"},
    }
    for line, expected in lines.items():
        words = line.split(" ")
        script = (
            f"source {tmp_path}/isodiff.bash; COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}')\n"
            f"COMP_CWORD={len(words) - 1}; _tyro_isodiff; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        assert set(done.stdout.split()) == expected, (line, done.stderr)


def test_version_is_the_package_s(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{version('isodiff')}\n"


def test_the_page_lists_the_verbs_and_their_commands():
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
    rows = dict(re.findall(r"^\| `isodiff (\w+)[^`]*` \| (.*) \|$", page, re.MULTILINE))
    assert rows == VERBS
    for verb in VERBS:
        for command in [] if verb == "train" else commands(verb):
            assert f"{verb} {command}" in page


@pytest.mark.parametrize("words", WAYS, ids=" ".join)
def test_every_option_says_what_it_takes_and_what_it_is_for(words, capsys, monkeypatch):
    """A kind in capitals or the choices, then an explanation; no type of Python, no default of None."""
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(capsys, *words)
    assert "--json" in text and "usage: isodiff " + " ".join(words) in text
    lines = [line.strip("│ ") for line in text.splitlines()]
    options = [number for number, line in enumerate(lines) if re.match("--[a-z]", line)]
    assert len(options) > 1 or words == ("cite",) or words == ("corpus", "show")
    for number in options:
        flag, _, rest = lines[number].partition("  ")
        said = rest.strip() or lines[number + 1]
        assert said and not said.startswith(("(default", "(required", "--")), flag
        assert not re.search(r"\b(INT|FLOAT|STR|PATH)\b", flag), flag
    assert "default: None" not in text and "{None}" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "isodiff: no verb 'trian'; did you mean 'train'?"),
        (["train", "maskd"], "isodiff train: no family 'maskd'; did you mean 'masked'?"),
        (["train"], "isodiff train: which family? one of autoregressive"),
        (
            ["train", "masked", "--recipe.bach-size", "3", "--corpus", "c", "--budget", "1e9"],
            "isodiff train: no option --recipe.bach-size; did you mean '--recipe.batch-size'?",
        ),
        (["train", "masked", "--budget", "many"], "isodiff train: give --corpus FOLDER"),
        (
            ["train", "masked", "--corpus", "c", "--budget", "many"],
            "isodiff train: --budget takes a number, got 'many'",
        ),
        (["study", "nowhere.yaml"], "isodiff study: nowhere.yaml does not exist"),
        (["study"], "isodiff study: give STUDY.yaml"),
        (["study", "a.yaml", "b.yaml"], "isodiff study: unexpected 'b.yaml'"),
        (["study", "a.yaml", "--bootstrap", "1.5"], "--bootstrap takes a whole number, got '1.5'"),
        (["study", "a.yaml", "--minutes"], "isodiff study: --minutes needs a value: MINUTES"),
        (["sample"], "isodiff sample: give RUN"),
        (["sample", "nowhere"], "isodiff sample: nowhere is not a run; it has no spec.json"),
        (["sample", "x", "--stpes", "3"], "no option --stpes; did you mean '--steps'?"),
        (["evaluate", "split", "nowhere"], "isodiff evaluate: nowhere is not a run"),
        (["evaluate", "nowhere"], "isodiff evaluate: no command 'nowhere'; one of harness"),
        (
            ["evaluate", "runs/1", "x.jsonl", "--task", "piqa"],
            "no command 'runs/1'; did you mean 'isodiff evaluate task'?",
        ),
        (["evaluate", "runs/1", "--harness=arc"], "did you mean 'isodiff evaluate harness'?"),
        (["plan"], "isodiff plan: which command? one of budget, next, study"),
        (["plan", "--budget", "1e21"], "did you mean 'isodiff plan budget'?; one of"),
        (["plan", "runs", "--next", "3"], "did you mean 'isodiff plan next'?"),
        (["plan", "next", "x", "--verdict", "leed"], "cannot be 'leed'; did you mean 'lead'?"),
        (["fit", "x", "--law", "cubic"], "isodiff fit: --law cannot be 'cubic'"),
        (["corpus", "prepare", "a.txt"], "isodiff corpus: give --out FOLDER"),
        (["families", "--shape", "26k"], "isodiff families: no shape '26k'; did you mean"),
        (["train", "ar", "--corpus", "nowhere", "--budget", "1e9"], "nowhere"),
        (["--tyro-print-completion", "csh"], "isodiff: --tyro-print-completion needs a shell"),
    ],
)
def test_bad_input_is_one_line_and_code_2(words, message, capsys):
    assert main(words) == 2
    said = capsys.readouterr()
    assert message in said.err.strip() and said.out == ""
    assert "\n" not in said.err.strip()


def test_families_as_json(capsys):
    assert main(["families", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["families"]
    assert rows["autoregressive"]["likelihood"] == "exact"
    assert rows["masked"]["likelihood"] == "bound"
    assert (
        rows["masked"]["training_flops_per_token"]
        > rows["autoregressive"]["training_flops_per_token"]
    )


def test_a_full_disk_is_one_line(monkeypatch, capsys):
    import isodiff.cli.families as verb

    def full() -> Answer:
        raise OSError(28, "No space left on device", "runs/x/metrics.jsonl")

    monkeypatch.setattr(verb, "run", full)
    assert main(["families"]) == 2
    assert capsys.readouterr().err == (
        "isodiff families: no space left on the disk while writing runs/x/metrics.jsonl; "
        "free some and run it again\n"
    )


@pytest.mark.parametrize(
    ("redirections", "code", "lines"),
    [("> /dev/full", 2, 1), ("2>&-", 0, 0), ("2> /dev/full", 0, 0), (">&- 2>&-", 0, 0)],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_streams_that_take_nothing(redirections, code, lines):
    command = f"{sys.executable} -m isodiff.cli --version {redirections}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (code, lines)
    assert "Traceback" not in done.stdout + done.stderr


def test_what_a_terminal_would_obey_is_written_out(monkeypatch, capsys):
    import isodiff.cli.families as verb

    text = "a\x1b[31mred\r\u202egnirts\udc80\x85\ttab\nnext"

    def run() -> Answer:
        return Answer({"text": text}, text)

    monkeypatch.setattr(verb, "run", run)
    assert main(["families"]) == 0
    assert capsys.readouterr().out == ("a\\x1b[31mred\\r\\u202egnirts\\udc80\\x85\ttab\nnext\n")
    assert main(["families", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"text": text}
    assert main(["sample", "\x1b]0;owned\x07\n" + "x" * 10_000]) == 2
    said = capsys.readouterr().err
    assert len(said) <= 501 and said.count("\n") == 1 and said.strip().isprintable()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 7 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate"),
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError(27, "File too large", "x"),
    ],
    ids=str,
)
def test_a_machine_that_has_not_enough_is_one_line(error, monkeypatch, capsys):
    import isodiff.cli.families as verb

    def run() -> Answer:
        raise error

    monkeypatch.setattr(verb, "run", run)
    assert main(["families"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "out of memory" in said or "no space left on the disk" in said
