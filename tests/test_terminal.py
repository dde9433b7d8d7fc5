"""Tables fit the terminal: words fold, numbers never do."""

import functools

import pytest
from rich.console import Console

from toolkit.reporting import terminal

ROWS = [["a name of many words that has to fold", "1,234.5", "99.9 %"], ["b", "7", "1.0 %"]]


@pytest.fixture
def shown(monkeypatch, capsys):
    """Print a table on a terminal of some columns; return its lines."""

    def show(columns, rows, header=None, **options):
        # force_terminal and a width: what a real terminal would tell rich.
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(
            terminal, "Console", functools.partial(Console, force_terminal=True, no_color=True,
                                                   color_system=None)
        )  # fmt: skip
        terminal.print_table(rows, header, **options)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return show


def test_only_words_fold_in_a_narrow_terminal(shown):
    lines = shown(40, ROWS, ["model", "size", "right"])
    assert max(map(len, lines)) <= 40
    assert lines[1].split()[-3:] == ["1,234.5", "99.9", "%"]
    assert len(lines) == 4


def test_a_long_heading_of_numbers_is_broken_between_words(shown):
    lines = shown(34, ROWS, ["model", "largest difference", "right"])
    assert lines[0].split() == ["largest"]
    assert lines[1].split() == ["model", "difference", "right"]
    assert "1,234.5" in lines[2]


def test_no_number_is_cut_where_all_of_them_do_not_fit(shown):
    lines = shown(20, [["a", *["123,456"] * 5]], ["model", *"vwxyz"])
    assert lines[1].split() == ["a", *["123,456"] * 5]


def test_piped_output_is_as_wide_as_its_text(capsys):
    terminal.print_table(ROWS, ["model", "size", "right"])
    assert "a name of many words that has to fold  1,234.5  99.9 %" in capsys.readouterr().out
