"""`isodiff cite`: every source that a run can use has an entry, and a run names those it used."""

import json
import re

import pytest

from isodiff.cli import main
from isodiff.errors import InputError
from isodiff.families import FAMILIES
from isodiff.references import arxiv_numbers, bibtex, entries, keys_of, shared_entries

SPEC = {
    "family": {"name": "uniform"},
    "recipe": {"schedule": "wsd"},
    "backbone": {"norm": "rms", "mlp": "swiglu", "qk_norm": True, "adaln": True},
}
PLAIN = {
    "family": {"name": "autoregressive"},
    "recipe": {"schedule": "cosine"},
    "backbone": {"norm": "layer", "mlp": "gelu", "qk_norm": False, "adaln": False},
}


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_can_be_cited(name):
    family, own = FAMILIES[name], entries(FAMILIES[name].bibtex)
    for spec in (SPEC, PLAIN):
        text = bibtex(keys_of(spec, family.reference, own), own)
        for number in arxiv_numbers(family.reference):
            assert f"eprint = {{{number}}}" in text
        assert all(entry in text for entry in own.values())


def test_what_belongs_to_one_family_is_in_its_file():
    for family in FAMILIES.values():
        assert entries(family.bibtex) and not set(entries(family.bibtex)) & set(shared_entries())


def test_entries_are_whole_and_named_by_their_number():
    found = shared_entries()
    for family in FAMILIES.values():
        found |= entries(family.bibtex)
    assert len(found) > 15
    for key, entry in found.items():
        assert entry.count("{") == entry.count("}")
        assert re.search(r"title = \{.+\}", entry) and re.search(r"author = \{.+\}", entry)
        if arxiv_numbers(key):
            assert f"eprint = {{{key}}}" in entry


def test_only_what_was_used_is_cited():
    own = entries(FAMILIES["autoregressive"].bibtex)
    keys = keys_of(PLAIN, FAMILIES["autoregressive"].reference, own)
    assert keys == ["gpt2", "1711.05101", "2104.09864"]
    assert set(keys_of(SPEC, "arXiv 2506.10892", {})) > {"2506.10892", "2405.18392", "2212.09748"}
    with pytest.raises(InputError, match=r"no entry for 9999\.99999"):
        bibtex(["9999.99999"], {})


def test_the_verb(tmp_path, capsys):
    rest = {
        "shape": {"depth": 1, "width": 16, "heads": 2},
        "budget": 1e9,
        "length": 32,
        "corpus": {"hash": "0" * 64, "vocab_size": 257, "tokenizer": "bytes"},
    }
    (tmp_path / "spec.json").write_text(json.dumps(SPEC | rest))
    assert main(["cite", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("@misc{2506.10892,") and "@software{isodiff," in said
    assert main(["cite", str(tmp_path), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["keys"][0] == "2506.10892" and value["bibtex"] in said
    assert main(["cite", str(tmp_path / "nothing")]) == 2


def test_a_spec_that_is_none_is_one_line(tmp_path, capsys):
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    for verb in ("cite", "sample"):
        assert main([verb, str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert "spec.json: shape is missing; " in said and said.count("\n") == 1
