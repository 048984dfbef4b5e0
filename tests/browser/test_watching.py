"""The other tests of this folder can fail: what a page should not do is noticed."""

from __future__ import annotations

import pytest

POLICY = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"


@pytest.mark.parametrize(
    ("body", "noticed"),
    [
        ("<img src='https://example.invalid/x.png'>", "https://example.invalid/x.png"),
        (f"{POLICY}<script>document.title = 'ran'</script>", "Content Security Policy"),
        (f"{POLICY}<body onload='1'>x", "Content Security Policy"),
        (f"{POLICY}<img src='x.png'>", "Content Security Policy"),
        ("<script>throw new Error('planted')</script>", "error: planted"),
        ("<script>console.error('planted')</script>", "console: planted"),
    ],
)
def test_what_a_page_should_not_do_is_noticed(visit, complaints, tmp_path, body, noticed):
    (tmp_path / "page.html").write_text(f"<!doctype html><title>still</title>{body}")
    page = visit(tmp_path / "page.html")
    assert page.title() == "still"
    assert any(noticed in complaint for complaint in complaints)
    complaints.clear()


def test_a_page_that_is_too_wide_is_noticed(visit, overflow, tmp_path):
    (tmp_path / "page.html").write_text("<!doctype html><div style='width:500px'>wide</div>")
    assert overflow(visit(tmp_path / "page.html", width=390)) > 100
