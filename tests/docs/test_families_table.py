"""docs/families.md shows what the families say of themselves."""

from pathlib import Path

from isodiff.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "families.md"


def test_the_table_is_up_to_date(capsys):
    assert main(["families", "--markdown"]) == 0
    table = capsys.readouterr().out.strip()
    _, found = PAGE.read_text().split("<!-- from `isodiff families --markdown` -->\n")
    assert found.split("\n<!-- end -->")[0] == table, (
        "put the output of `isodiff families --markdown` between the marks"
    )
