"""`isodiff sample RUN --trace FILM`: the page, what the answer says of it, and paths that cannot be."""

import json
import re
from pathlib import Path

import pytest
from markupsafe import escape
from tiny_runs import answer, corpus, trained

from isodiff.cli import main
from isodiff.data.tokenizer import Bytes
from isodiff.report.film import SHOWN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("film")


@pytest.fixture(scope="module")
def texts(folder: Path) -> Path:
    return corpus(folder)


@pytest.fixture(scope="module")
def masked(folder: Path, texts: Path) -> Path:
    return trained(folder, "masked", texts, "1e9")


@pytest.fixture(scope="module")
def autoregressive(folder: Path, texts: Path) -> Path:
    return trained(folder, "autoregressive", texts, "1e9")


def last_states(path: Path) -> list[bytes]:
    """The tokens that the texts of a film end with, cut where they are cut."""
    (source,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text())
    reel = json.loads(source)
    final_states = []
    for take in reel["takes"]:
        tokens = list(take["start"])
        for frame in [take["noise"], *take["frames"]]:
            for place, token in zip(frame[::2], frame[1::2], strict=True):
                tokens[place] = token
        kept = [reel["pieces"][token] for token in tokens[: take["kept"]]]
        final_states.append(b"".join(p.encode() if isinstance(p, str) else bytes(p) for p in kept))
    return final_states


def test_a_film_ends_with_the_texts_that_were_drawn(masked, tmp_path):
    film = tmp_path / "new" / "film.html"
    words = ["--prompt", "<b>é ", "--suffix", "the end", "--steps", "8", "--num", "3"]
    said = answer("sample", masked, *words, "--trace", film)
    assert said["trace"] == str(film)
    final_states = last_states(film)
    assert len(final_states) == 3
    for state, one in zip(final_states, said["samples"], strict=True):
        assert state == b"".join(map(Bytes().spelling, one["tokens"]))
        assert state.decode(errors="replace") == one["text"]
        assert f"{one['nfe']} network evaluations" in film.read_text()
        assert str(escape(one["text"])) in film.read_bytes().decode()
    silent = answer("sample", masked, *words)
    assert silent["trace"] is None
    assert silent["samples"] == said["samples"]


def test_a_film_shows_the_first_texts_whatever_the_batch(masked, tmp_path, capsys):
    words = ["sample", str(masked), "--steps", "4", "--num", str(SHOWN + 3)]
    films = [tmp_path / "together.html", tmp_path / "apart.html"]
    for film, size in zip(films, ("64", "3"), strict=True):
        assert main([*words, "--batch-size", size, "--trace", str(film)]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last == f"{film}: a film of the first {SHOWN} texts"
    assert len(last_states(films[0])) == SHOWN
    assert films[0].read_bytes() == films[1].read_bytes()
    with pytest.raises(SystemExit):
        main(["sample", "--help"])
    assert f"first {SHOWN} texts" in " ".join(capsys.readouterr().out.replace("│", "").split())


def test_a_text_that_ends_early_is_cut_in_the_film_too(autoregressive, tmp_path):
    """The last evaluation's end of document fills the text; only what was kept counts as text."""
    film = tmp_path / "film.html"
    words = ["--to-end", "--num", "6", "--length", "600", "--temperature", "3", "--trace", film]
    said = answer("sample", autoregressive, *words)
    final_states = last_states(film)
    lengths = [len(one["tokens"]) for one in said["samples"]]
    assert min(lengths) < 600
    for state, one in zip(final_states, said["samples"], strict=True):
        assert state == bytes(one["tokens"])


def test_bad_paths_are_one_line_and_code_2(masked, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for path, message in [
        (tmp_path, f"isodiff sample: {tmp_path} is a folder; give the film a name in it"),
        (tmp_path / "file" / "film.html", f"{tmp_path / 'file'}, which is not a folder"),
        (tmp_path / "file" / "deeper" / "film.html", "which is not a folder"),
    ]:
        assert main(["sample", str(masked), "--num", "1", "--trace", str(path)]) == 2
        told = capsys.readouterr()
        assert message in told.err and told.out == ""
        assert len(told.err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
