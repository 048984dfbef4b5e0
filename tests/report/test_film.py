"""The film's page: what it holds, said once, escaped, and nothing from anywhere else."""

import base64
import hashlib
import json
import re

from isodiff.report.film import SHOWN, Film, Take, film_page, piece
from tests.report.reading import Page

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"
WORDS = [b"The", b" cat", b"\xc3", b"\xa9", EVIL.encode(), b"<|endoftext|>"]
START = [0, -1, -1, -1, -1]
FRAMES = [[(2, 3), (1, 4)], [], [(2, 2), (3, 3), (1, -1)], [(1, 1), (4, 5)]]


def film(num: int = 1, **changes) -> Film:
    takes = [Take(start=START, frames=FRAMES, text="The cat\u00e9" + EVIL, kept=4)]
    options = {"steps": 4, "top_k": None, "top_p": 1.0, "order": EVIL}
    return Film(
        **{
            "family": "masked",
            "run": "0123456789ab",
            "seed": 3,
            "sampler": options,
            "takes": takes * min(num, SHOWN),
            "num": num,
            "spelling": WORDS.__getitem__,
            "end": 5,
            **changes,
        }
    )


def reel(page: Page) -> dict:
    (data,) = [text for tag, text in page.texts if tag == "script" and text.startswith("{")]
    return json.loads(data)


def test_the_reel_holds_the_initial_state_and_the_changes():
    found = reel(Page(film_page(film())))
    (take,) = found["takes"]
    tokens = list(take["start"])
    assert tokens == START and take["frames"][2][4:] == [1, -1]
    assert take["kept"] == 4 and len(take["frames"]) == len(FRAMES)
    for flat, frame in zip(take["frames"], FRAMES, strict=True):
        changed = dict(zip(flat[::2], flat[1::2], strict=True))
        assert list(changed) == [place for place, _ in frame]
        for place, token in changed.items():
            tokens[place] = token
    pieces = found["pieces"]
    assert [pieces[token] for token in tokens] == ["The", " cat", [0xC3], [0xA9], "<|endoftext|>"]
    assert found["end"] == tokens[4]
    assert len(pieces) == len(WORDS)


def test_noise_stands_at_undecided_positions_before_the_first_evaluation():
    take = Take(start=START, noise=[(1, 2), (3, 0)], frames=[[(1, 1)]], text="The cat", kept=5)
    (found,) = reel(Page(film_page(film(takes=[take]))))["takes"]
    words = [WORDS[token] for token in (2, 0, 1)]
    pieces = reel(Page(film_page(film(takes=[take]))))["pieces"]
    shown = [found["noise"][1], found["noise"][3], found["frames"][0][1]]
    assert [pieces[token] for token in shown] == [list(words[0]), *(w.decode() for w in words[1:])]
    assert found["noise"][::2] == [1, 3] and found["start"][1] == found["start"][3] == -1


def test_a_film_without_an_end_of_document_names_none():
    take = Take(start=[0, -1], frames=[[(1, 1)]], text="The cat", kept=2)
    assert reel(Page(film_page(film(takes=[take]))))["end"] not in (-1, 0, 1)


def test_pieces_are_text_where_they_are_whole():
    assert piece("é\n<b>".encode()) == "é\n<b>"
    assert piece(b"") == ""
    assert piece(" “".encode()[:-1]) == [0x20, 0xE2, 0x80]


def test_text_is_never_markup():
    page = Page(film_page(film(family=EVIL, run=EVIL)))
    assert page.count("script") == 2 and page.count("img") == 0
    assert not [a for _, a in page.elements for name in a if name.startswith("on")]
    assert page.words.count(EVIL) >= 4  # title, heading, sampler, run, text
    assert EVIL in reel(page)["pieces"]


def test_only_the_page_s_own_script_may_run_and_nothing_is_loaded():
    source = film_page(film())
    page = Page(source)
    data, script = [text for tag, text in page.texts if tag == "script"]
    types = [a.get("type") for tag, a in page.elements if tag == "script"]
    assert types == ["application/json", None] and data.startswith("{")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [a["content"] for _, a in page.elements if "http-equiv" in a]
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base", "form")
        assert "src" not in attributes and "href" not in attributes
    assert "@import" not in source and not re.findall(r"https?://|url\(", source)


def test_the_page_says_what_it_shows():
    words = Page(film_page(film(num=100))).words
    assert f"The first {SHOWN} of 100 texts · run 0123456789ab · seed 3" in words
    assert "steps 4 · top p 1 · order" in words and "top k" not in words
    assert "4 network evaluations" in words
    assert "1 text · run" in Page(film_page(film())).words
    assert "2 texts · run" in Page(film_page(film(num=2))).words


def test_without_a_script_the_finished_text_is_there():
    page = Page(film_page(film()))
    assert [text for tag, text in page.texts if tag == "pre"] == ["The cat\u00e9" + EVIL]
