"""The film as a reader meets it: it plays, pauses, steps, and ends with the text that was drawn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from isodiff.data.tokenizer import Bytes
from isodiff.report.film import Film, Take, write_film
from tests.cli.tiny_runs import answer, corpus, trained

PROMPT = "<script>document.title='broken'</script>\n<b>caf\u00e9</b>\t\u65e5\u202e"
SUFFIX = "\x07 & the end"
STILL = {"reduced_motion": "reduce"}


class Shown(NamedTuple):
    """A film and what the command line said of it."""

    path: Path
    samples: list[dict[str, Any]]

    @property
    def last(self) -> int:
        """Evaluations of the longest text."""
        return max(one["nfe"] for one in self.samples)


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """By the command line, from a run of the command line."""
    folder = tmp_path_factory.mktemp("film")
    run = trained(folder, "masked", corpus(folder), "5e8")
    words = ["--prompt", PROMPT, "--suffix", SUFFIX, "--length", 120, "--num", 3, "--steps", 24]
    said = answer("sample", run, *words, "--trace", folder / "film.html")
    assert max(one["nfe"] for one in said["samples"]) > 10
    return Shown(Path(said["trace"]), said["samples"])


def texts(page: Any) -> list[str]:
    """What the stages show, signs read by their names; undecided positions are left out."""
    shown = page.locator(".stage").evaluate_all(
        "stages => stages.map(stage => [...stage.querySelectorAll('.cell:not(.cut)')].flatMap("
        "cell => [...cell.childNodes].map(node => [node.textContent, node.title ?? ''])))"
    )
    return [b"".join(spelling(*part) for part in parts).decode(errors="replace") for parts in shown]


def spelling(text: str, name: str) -> bytes:
    """UTF-8 of one part of a cell."""
    if name.startswith("byte "):
        return bytes.fromhex(name.removeprefix("byte "))
    if name.startswith("U+"):
        return chr(int(name.removeprefix("U+"), 16)).encode()
    return b"<|endoftext|>" if name else text.encode()


def at(page: Any) -> int:
    """Network evaluations shown."""
    return int(page.locator("#now").inner_text().split("/")[0])


def opened(visit: Any, path: Path, *arguments: Any, **options: Any) -> Any:
    page = visit(path, *arguments, **options)
    page.locator(".line").first.wait_for(state="attached")
    return page


def planted(
    path: Path,
    start: list[int],
    frames: list[Any],
    text: str,
    kept: int | None = None,
    words: list[str] | None = None,
    noise: tuple[tuple[int, int], ...] = (),
) -> Path:
    """A film of one text, in bytes or in words."""
    shown = len(start) if kept is None else kept
    take = Take(start=start, noise=noise, frames=frames, text=text, kept=shown)
    call = {"family": "planted", "run": "0", "seed": 0, "sampler": {}, "num": 1}
    spelling = Bytes().spelling if words is None else lambda token: words[token].encode()
    write_film(path, Film(takes=[take], spelling=spelling, end=Bytes.eos, **call))
    return path


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_seen(visit, overflow, shown, theme, width):
    page = opened(visit, shown.path, width, theme, **STILL)
    assert page.locator("h1").inner_text() == "masked"
    for selector in (".stage", ".strip", "#play", "#scrub", "#speed", "#back", "#forward"):
        box = page.locator(selector).first.bounding_box()
        assert box["width"] > 0 and box["x"] > -12 and box["x"] + box["width"] <= width
    for count in (0, 5, shown.last):
        page.locator("#scrub").fill(str(count))
        assert overflow(page) <= 0
    player = page.locator(".player").bounding_box()
    assert player["y"] + player["height"] == pytest.approx(800, abs=1)
    colors = page.evaluate(
        "['.cell:not(.undecided):not(.small)', 'body'].map((selector, i) => getComputedStyle("
        "document.querySelector(`${i ? '' : '.stage '}${selector}`))[i ? 'backgroundColor' : 'color'])"
    )
    ink, paper = (sum(map(int, re.findall(r"\d+", color)[:3])) / 765 for color in colors)
    assert (paper > 0.9 and ink < 0.3) if theme == "light" else (paper < 0.2 and ink > 0.7)


def test_it_ends_with_exactly_the_texts(visit, shown):
    page = opened(visit, shown.path, **STILL)
    page.locator("#scrub").fill(str(shown.last))
    assert texts(page) == [one["text"] for one in shown.samples]
    assert page.locator(".stage .undecided").count() == 0
    counts = page.locator(".take .count").all_inner_texts()
    assert counts == [f"{one['nfe']} of {one['nfe']} network evaluations" for one in shown.samples]


def test_it_begins_with_what_was_given(visit, shown):
    page = opened(visit, shown.path, **STILL)
    page.locator("#scrub").fill("0")
    assert texts(page) == [PROMPT + SUFFIX] * 3
    observed = len((PROMPT + SUFFIX).encode())
    assert page.locator(".stage .given").count() == 3 * observed
    assert page.locator(".stage .undecided").count() == 3 * (120 - observed)
    assert page.locator(".stage .filled, .stage .changed").count() == 0
    legend = page.locator(".legend li:visible").all_inner_texts()
    assert [words.split()[0] for words in legend] == ["given", "not", "filled"]


def test_what_looks_like_markup_is_text(visit, shown, tmp_path):
    page = opened(visit, shown.path, **STILL)
    assert "film of a sample" in page.title()
    assert page.locator("b").count() == 0 and page.locator("script").count() == 2
    assert all(text.startswith(PROMPT) for text in texts(page))
    words = ["<script>document.title='broken'</script>", "<img src=x onerror=alert(1)>", "&lt;\n"]
    film = planted(tmp_path / "film.html", [0, -1, -1], [[(1, 1), (2, 2)]], "", words=words)
    page = opened(visit, film, **STILL)
    assert texts(page) == ["".join(words)] and page.locator("img").count() == 0


def test_bytes_become_characters_when_the_last_one_is_there(visit, tmp_path):
    """\u65e5 from the middle outwards, and a byte that never gets its character."""
    frames = [[(1, 0x97)], [(0, 0xE6)], [(2, 0xA5)], [(2, 0x41), (3, 0x80)], [(2, 0xA5)]]
    film = planted(tmp_path / "film.html", [-1] * 4, frames, "\u65e5\ufffd")
    page = opened(visit, film, **STILL)
    cells = page.locator(".stage .cell")
    said = [
        ["", "", "", ""],
        ["", "9\n7", "", ""],
        ["E\n6", "9\n7", "", ""],
        ["\u65e5", "", "", ""],
        ["E\n6", "9\n7", "A", "8\n0"],
        ["\u65e5", "", "", "8\n0"],
    ]
    for count, wanted in enumerate(said):
        page.locator("#scrub").fill(str(count))
        assert cells.evaluate_all("cells => cells.map(cell => cell.textContent)") == wanted
    assert cells.nth(2).get_attribute("class") == "cell changed"


def test_noise_stands_there_before_the_first_evaluation(visit, tmp_path):
    """What is drawn over it is changed, not filled, and no undecided position is spoken of."""
    noise = ((1, 120), (2, 121))
    film = planted(tmp_path / "film.html", [97, -1, -1], [[(2, 99)], [(1, 98)]], "abc", noise=noise)
    page = opened(visit, film, **STILL)
    page.locator("#scrub").fill("0")
    assert texts(page) == ["axy"] and page.locator(".stage .undecided").count() == 0
    assert page.locator(".count").inner_text() == "0 of 2 network evaluations"
    page.locator("#scrub").fill("1")
    assert texts(page) == ["axc"] and page.locator(".stage .changed").inner_text() == "c"
    legend = page.locator(".legend li:visible").all_inner_texts()
    assert [words.split()[0] for words in legend] == ["given", "changed"]


def test_what_an_evaluation_changed_is_marked(visit, tmp_path):
    frames = [[(1, 98), (2, 120)], [(2, 99)], [(1, -1)], [(1, 98), (3, 256), (4, 256)]]
    film = planted(tmp_path / "film.html", [97, -1, -1, -1, -1], frames, "abc", kept=3)
    page = opened(visit, film, **STILL)
    wanted = [
        ["given", "undecided", "undecided", "cut undecided", "cut undecided"],
        ["given", "filled", "filled", "cut undecided", "cut undecided"],
        ["given", "", "changed", "cut undecided", "cut undecided"],
        ["given", "undecided emptied", "", "cut undecided", "cut undecided"],
        ["given", "filled", "", "cut filled", "cut filled"],
    ]
    names = "cells => cells.map(cell => cell.className.replace(/^cell ?/, ''))"
    for count, kinds in enumerate(wanted):
        page.locator("#scrub").fill(str(count))
        assert page.locator(".stage .cell").evaluate_all(names) == kinds
    assert page.locator(".stage").inner_text() == "abc\u220e"  # the end is told once
    assert page.locator(".legend li:visible").count() == 6
    drawn = page.locator(".strip path").evaluate_all("paths => paths.map(p => p.className.baseVal)")
    assert drawn == ["filled", "changed", "emptied"]


def test_it_plays_at_the_pace_chosen_pauses_and_stops_at_the_end(visit, shown, browser):
    page = opened(visit, shown.path, **STILL)
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    page.locator("#speed").select_option("4")
    page.locator("#scrub").fill("0")
    page.locator("#play").click()
    assert page.locator("#play").get_attribute("aria-label") == "Pause"
    page.clock.run_for(1600)
    assert at(page) == 6
    page.locator("#play").click()
    page.clock.run_for(5000)
    assert at(page) == 6
    assert page.locator("#play").get_attribute("aria-label") == "Play"
    page.locator("#play").click()
    page.locator("#speed").select_option("64")
    page.clock.run_for(2000)
    assert at(page) == shown.last
    assert page.locator("#play").get_attribute("aria-label") == "Play"
    assert texts(page) == [one["text"] for one in shown.samples]
    page.locator("#play").click()  # from the beginning
    assert at(page) == 0


def test_it_starts_by_itself_unless_motion_is_unwanted(visit, shown):
    moving = opened(visit, shown.path, reduced_motion="no-preference")
    moving.locator("#play[aria-label=Pause]").wait_for()
    moving.locator("#now", has_text=re.compile(r"^[1-9]")).wait_for()
    still = opened(visit, shown.path, **STILL)
    assert still.locator("#play").get_attribute("aria-label") == "Play"
    assert at(still) == shown.last


def test_buttons_and_keys_step(visit, shown):
    page = opened(visit, shown.path, **STILL)
    last = shown.last
    for press, wanted in [
        (lambda: page.keyboard.press("Home"), 0),
        (lambda: page.keyboard.press("ArrowLeft"), 0),
        (lambda: page.keyboard.press("ArrowRight"), 1),
        (page.locator("#forward").click, 2),
        (page.locator("#forward").click, 3),
        (lambda: page.keyboard.press("Space"), 4),  # on the button that has the focus
        (page.locator("#back").click, 3),
        (lambda: page.keyboard.press("ArrowRight"), 4),
        (lambda: page.locator("#scrub").focus(), 4),
        (lambda: page.keyboard.press("ArrowRight"), 5),  # the slider's own step, once
        (lambda: page.keyboard.press("End"), last),
        (page.locator("#forward").click, last),
    ]:
        press()
        assert at(page) == wanted
        assert page.locator("#scrub").input_value() == str(wanted)
    strip = page.locator(".strip").first
    strip.click(position={"x": 1, "y": 5})
    assert at(page) == 1


def test_space_plays_and_pauses(visit, shown):
    page = opened(visit, shown.path, **STILL)
    label = page.locator("#play")
    page.locator("#scrub").focus()
    for name in ("Pause", "Play"):
        page.keyboard.press("Space")
        assert label.get_attribute("aria-label") == name
    label.focus()
    for name in ("Pause", "Play"):
        page.keyboard.press("Space")
        assert label.get_attribute("aria-label") == name
    page.locator("h1").click()
    page.keyboard.press("Space")
    assert label.get_attribute("aria-label") == "Pause"
    page.keyboard.press("ArrowRight")
    assert label.get_attribute("aria-label") == "Play"


def boxes(page: Any) -> list[list[list[float]]]:
    """Left edges of lines and cells, with the tops of the former and the widths of the latter."""
    found = []
    for selector, part in ((".line", "y"), (".stage .cell", "width")):
        script = (
            f"nodes => nodes.map(n => n.getBoundingClientRect()).map(box => [box.x, box.{part}])"
        )
        rounded = page.locator(selector).evaluate_all(script)
        found.append([[round(number) for number in box] for box in rounded])
    return found


WORDS = re.findall(
    r" \S+", " To fill a hole, take what fits it, and that is all there is to say of it"
)
WORDS += ["\n", " interminably" * 3]


def worded(path: Path) -> Path:
    """Words in a random order, after noise that is much too long."""
    tokens = [i * 5 % 18 for i in range(60)] + [18, 18] + [i * 7 % 18 for i in range(40)]
    noise = [(i, 19) for i in range(0, len(tokens), 3)]
    order = sorted(range(len(tokens)), key=lambda i: i * 37 % len(tokens))
    frames = [[(i, tokens[i]) for i in order[n : n + 9]] for n in range(0, len(tokens), 9)]
    last = "".join(WORDS[token] for token in tokens)
    return planted(path, [-1] * len(tokens), [noise, *frames], last, words=WORDS)


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_moves_while_positions_are_decided(visit, tmp_path, width):
    """Lines are those of the finished text, and an undecided position is as wide as its text."""
    text = "To fill a hole, take what fits it.\n\nThat is all there is to say of it; " * 4
    order = sorted(range(len(text)), key=lambda i: i * 37 % len(text))
    frames = [[(i, ord(text[i])) for i in order[n : n + 30]] for n in range(0, len(text), 30)]
    page = opened(
        visit, planted(tmp_path / "film.html", [-1] * len(text), frames, text), width, **STILL
    )
    found = []
    for count in (0, 1, len(frames) // 2, len(frames)):
        page.locator("#scrub").fill(str(count))
        found.append(boxes(page))
    assert len(found[0][0]) > 5 and len(found[0][1]) == len(text)
    assert all(one == found[0] for one in found)


def test_words_stay_in_their_lines_and_long_noise_in_the_window(visit, overflow, tmp_path):
    page = opened(visit, worded(tmp_path / "film.html"), 390, **STILL)
    finished, last = boxes(page), int(page.locator("#scrub").get_attribute("max"))
    lefts = {x for x, _ in finished[0]}
    assert len(lefts) == 1 and len(finished[0]) > 10
    assert page.locator(".line:empty").count() == 0
    turned = page.locator(".turned").evaluate_all(
        "all => all.map(n => n.getBoundingClientRect().x)"
    )
    assert turned and max(turned) < min(lefts) - 5  # the blank before a line's first word
    broken = page.locator(".line").evaluate_all(
        "lines => lines.map(line => line.getBoundingClientRect().height)"
    )
    assert max(broken) < 1.5 * min(broken)  # no line of the finished text is broken again
    for count in range(last):
        page.locator("#scrub").fill(str(count))
        assert overflow(page) <= 0
    page.locator("#scrub").fill("0")
    assert boxes(page) == finished


def test_a_window_that_changes_its_width_gets_new_lines(visit, overflow, tmp_path):
    page = opened(visit, worded(tmp_path / "film.html"), **STILL)
    wide, text = boxes(page), texts(page)
    page.set_viewport_size({"width": 390, "height": 800})
    page.locator(".line").nth(len(wide[0])).wait_for(state="attached")
    assert overflow(page) <= 0 and texts(page) == text
    assert page.locator(".turned").count() > 5
    page.set_viewport_size({"width": 1280, "height": 800})
    page.locator(".line").nth(len(wide[0])).wait_for(state="detached")
    assert boxes(page) == wide and texts(page) == text


def test_without_a_script_the_texts_are_there(visit, shown):
    page = visit(shown.path, java_script_enabled=False)
    assert page.locator(".player").is_hidden()
    for text, one in zip(page.locator(".stage pre").all_inner_texts(), shown.samples, strict=True):
        assert text.startswith(PROMPT[:40]) and one["text"].startswith(PROMPT)
