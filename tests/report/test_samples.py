"""What families wrote: texts, or the pictures that texts of the corpus `digits` stand for."""

import json

from isodiff.data.documents import source_name
from isodiff.report.blocks import Figure, Text
from isodiff.report.page import build_report
from isodiff.report.sections.samples import samples_section
from isodiff.report.study_folder import read_study_folder
from tests.report.planted import write, write_study

ZERO = "0aafnjbaa" + "a" * 55 + "q"  # the first row of the first image, and the last pixel
BROKEN = "3bc<|endoftext|>7bbb"


def test_texts_as_they_are(tmp_path):
    write_study(tmp_path, budgets=(1e11,))
    blocks = samples_section(read_study_folder(tmp_path)).blocks
    assert {type(block) for block in blocks} == {Text}


def test_digits_are_pictures(tmp_path):
    write_study(tmp_path, budgets=(1e11,), corpus={"source": [source_name("digits")]})
    said = {"run": "0" * 12, "sampler": "ancestral", "texts": [ZERO, BROKEN], "nfe": 64}
    write(tmp_path / "samples.json", {"masked": said})
    (figure,) = samples_section(read_study_folder(tmp_path)).blocks
    assert isinstance(figure, Figure) and figure.name == "digits-masked"
    assert "masked drew" in figure.caption and "ancestral · 64 network" in figure.caption
    drawn = figure.wide.to_dict()
    pixels, labels = (
        json.loads(drawn["datasets"][layer["data"]["name"]]) for layer in drawn["layer"]
    )
    first = {(one["x"], one["y"] - 2): one["level"] for one in pixels if one["x"] < 10}
    assert first == {(2, 0): 5, (3, 0): 13, (4, 0): 9, (5, 0): 1, (7, 7): 16}
    assert [(one["x"] - 10, one["level"]) for one in pixels if one["x"] >= 10] == [(0, 1), (1, 2)]
    assert [one["label"] for one in labels] == ["0", "3"]
    build_report(tmp_path)
    assert (tmp_path / "figures" / "digits-masked.png").is_file()
