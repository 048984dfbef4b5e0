"""What the command line does when it is stopped early, or has nowhere to put its answer."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_runs

from isodiff.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under runs/, and items to score."""
    made = tmp_path_factory.mktemp("unstored")
    run = tiny_runs.trained(made, "autoregressive", tiny_runs.corpus(made))
    assert run.parent == made / "runs"
    item = {"query": "Congress:", "choices": ["the Senate", "a house"], "gold": 0}
    (made / "items.jsonl").write_text(json.dumps(item) + "\n")
    return made


ANSWERS = {
    "fit": ["fit", "published:2602.15014", "--bootstrap", "0", "--out", "fit.json"],
    "task": ["evaluate", "task", "RUN", "items.jsonl"],
    "film": ["sample", "RUN", "--num", "1", "--trace", "film.html"],
}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_printed_though_it_cannot_be_stored(
    answer: str,
    as_json: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.chdir(folder)
    (run,) = (folder / "runs").iterdir()
    words = [str(run) if word == "RUN" else word for word in ANSWERS[answer]]
    monkeypatch.setattr("isodiff.files.write_bytes", full)
    assert main([*words, *(["--json"] if as_json else [])]) == 1
    said = capsys.readouterr()
    last = said.err.splitlines()[-1]
    assert "no space left on the disk" in last and last.endswith("the answer is not stored")
    assert json.loads(said.out) if as_json else said.out.strip()
    assert not (folder / "fit.json").exists() and not (folder / "film.html").exists()


@pytest.mark.parametrize(
    "module", ["isodiff.cli.dispatch", "isodiff.cli.parsing", "isodiff.cli.fit", "tyro", "scipy"]
)
def test_an_interruption_while_modules_are_read_is_one_line(module: str) -> None:
    code = (
        "import sys\n"
        "from isodiff.cli import main\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.exit(main(['fit', 'published:2602.15014', '--bootstrap', '0']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130 and done.stdout == ""
    assert done.stderr.strip().endswith(": interrupted; nothing was written")
