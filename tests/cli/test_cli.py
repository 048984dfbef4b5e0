"""The command line as a whole: help, verbs, errors, and what may not be imported."""

import json
import subprocess
import sys

import pytest

from isodiff.cli import VERBS, main


def code(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


@pytest.mark.parametrize(
    "words", [["--help"], ["plan", "--help"], ["fit", "--help"], ["report", "--help"]]
)
def test_help_and_light_verbs_import_no_torch(words):
    done = code(
        "import sys\n"
        "from isodiff.cli import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_fit_and_plan_run_without_torch(tmp_path):
    done = code(
        "import sys\n"
        "from isodiff.cli import main\n"
        "assert main(['fit', 'published:2602.15014', '--bootstrap', '20', '--json']) == 0\n"
        "assert main(['plan', 'missing.yaml']) == 2\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert main(['plan', '--budget', '1e21', '--law', 'published:2510.03280']) == 0\n"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["families"]


def test_every_verb_has_a_module_and_help(capsys):
    for verb in VERBS:
        try:
            assert main([verb, "--help"]) == 0
        except SystemExit as stop:
            assert stop.code == 0
        assert "usage" in capsys.readouterr().out.lower(), verb


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "isodiff: no verb 'trian'; did you mean 'train'?"),
        (["train", "maskd"], "isodiff train: no family 'maskd'; did you mean 'masked'?"),
        (["train"], "isodiff train: which family?"),
        (["study", "nowhere.yaml"], "isodiff study: nowhere.yaml does not exist"),
        (["sample", "nowhere"], "isodiff sample: nowhere is not a run; it has no spec.json"),
        (["evaluate", "nowhere"], "isodiff evaluate: nowhere is not a run"),
        (["families", "--shape", "26k"], "isodiff families: no shape '26k'; did you mean"),
        (["train", "ar", "--corpus", "nowhere", "--budget", "1e9"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_code_2(words, message, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


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

    def full(**options):
        raise OSError(28, "No space left on device", "runs/x/metrics.jsonl")

    monkeypatch.setattr(verb, "run", full)
    monkeypatch.setattr("tyro.cli", lambda run, **kwargs: run())
    assert main(["families"]) == 2
    assert capsys.readouterr().err == (
        "isodiff families: no space left on the disk while writing runs/x/metrics.jsonl; "
        "free some and run it again\n"
    )
