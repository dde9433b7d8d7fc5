"""A bench as Markdown and as CSV; hostile names stay text in both."""

import csv
import io
import re

import pytest
from bench_results import NASTY, PAGES, comparison, hostile, outcome, variant

from toolkit.benchmark import tables


@pytest.mark.parametrize("result", PAGES.values(), ids=PAGES.keys())
def test_every_table_of_the_markdown_has_even_rows(result):
    text = tables.markdown(result)
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        counts = {len(re.split(r"(?<!\\)\|", line)) for line in block.strip().splitlines()}
        assert len(counts) == 1
    assert text.startswith("### ")
    assert "None" not in text


def test_names_in_markdown_are_no_markup():
    name = "a|b`c`*d*[e](http://x)\nf<b>_g_"
    text = tables.markdown(outcome([variant(name), variant("b")], [comparison(name, "b")]))
    assert "<b>" not in text
    assert "\nf" not in text
    assert r"a\|b\`c\`\*d\*\[e\](http://x)?f&lt;b&gt;\_g\_" in text
    assert "<script" not in tables.markdown(hostile())


def test_failed_checks_lead_the_markdown():
    text = tables.markdown(hostile())
    assert "**1 of 2 checks failed.**" in text
    assert "FAILED" in text
    assert "within noise" in text
    assert text.index("checks failed") < text.index("top-1")


def test_the_csv_has_a_line_per_variant_with_its_figures():
    result = PAGES["two models"]
    first, second = csv.DictReader(io.StringIO(tables.csv(result)))
    assert (first["variant"], first["baseline"], first["latency_ratio"]) == ("a", "", "")
    assert (second["variant"], second["baseline"], second["verdict"]) == ("b", "a", "faster")
    assert float(second["p50_us"]) == 40.0
    assert float(second["import_ms"]) == 150.0


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+1", "-1", NASTY, "a,b\n\"c'"])
def test_names_in_csv_are_cells_and_no_formulas(name):
    (row,) = csv.DictReader(io.StringIO(tables.csv(outcome([variant(name)]))))
    assert row["variant"].lstrip("'") == name.replace("\n", "?")
    assert not row["variant"].startswith(("=", "@", "+", "-"))
    assert None not in row
