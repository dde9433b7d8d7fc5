import base64
import dataclasses
import html.parser
import io
import re
from pathlib import Path

import numpy as np
import pytest
from bench_results import PAGES, comparison, flip, hostile, outcome, pictures, variant
from PIL import Image

from toolkit.benchmark import Latency, page
from toolkit.benchmark.page import confusion, flips, latency, tradeoff
from toolkit.benchmark.summary import footnotes, headline, sentences


class Reader(html.parser.HTMLParser):
    """Checks that elements close in the order they open, and gathers what the page refers to."""

    VOID = frozenset({"meta", "link", "br", "img", "polygon", "polyline"})

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.ids, self.labelled, self.addresses = [], [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.labelled += [given["aria-labelledby"]] if "aria-labelledby" in given else []
        self.addresses += [given[key] for key in ("src", "href") if key in given]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("result", PAGES.values(), ids=PAGES.keys())
def test_the_page_is_well_formed_and_loads_nothing(result):
    text = page.render(result)
    reader = Reader(text)
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.labelled) <= set(reader.ids)
    assert set(reader.addresses) == {"data:,"}
    assert not {"script", "img", "iframe"} & set(reader.tags)
    assert not re.search(r"url\(|@import|https?:", text)
    assert reader.tags.count("h1") == 1
    assert "None" not in text
    assert "nan" not in text


def test_names_from_files_are_escaped():
    text = page.render(hostile(), pictures())
    reader = Reader(text)
    assert "script" not in reader.tags
    assert 'alert("x")' not in text
    assert "49" not in re.findall(r"'(\d+)", text), "a name is no template"
    assert all(address.startswith("data:") for address in reader.addresses)
    hidden = "a\x1b[31m\u202eb"
    text = page.render(outcome([variant(hidden), variant("b")], [comparison(hidden, "b")]))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_page_is_readable_in_both_themes_on_paper_and_on_a_phone():
    text = page.render(PAGES["two models"])
    for rule in ("prefers-color-scheme: dark", "@media print", "max-width", 'name="viewport"'):
        assert rule in text


def test_colours_of_text_and_marks_have_contrast():
    """WCAG 2: 4.5 to 1 for text, 3 to 1 for marks, in both themes."""
    css = (Path(page.__file__).parent / "templates" / "page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\n *\}", css, re.DOTALL)[:2]
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks)

    def luminance(color):
        channels = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(first, second):
        low, high = sorted([luminance(first), luminance(second)])
        return (high + 0.05) / (low + 0.05)

    def blended(top, part, ground):
        pairs = ((int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in (top, ground))
        return "#" + "".join(
            f"{round(part * a + (1 - part) * b):02x}" for a, b in zip(*pairs, strict=True)
        )

    for theme, block in zip((light, dark), blocks, strict=True):
        for tone, strongest in (("good", 0.32), ("bad", 0.42)):  # cells of the confusion matrices
            channels = re.search(rf"--{tone}-shade: (\d+) (\d+) (\d+)", block).groups()
            shade = "#" + "".join(f"{int(channel):02x}" for channel in channels)
            cell = blended(shade, strongest, theme["panel"])
            assert contrast(theme["ink"], cell) >= 4.5, tone
        for ground in ("page", "panel"):
            for text in ("ink", "soft", "good", "bad"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
            for index in range(8):
                assert contrast(theme[f"c{index}"], theme[ground]) >= 3, (index, ground)


def test_a_quantile_off_the_axis_is_marked_at_its_end_with_its_value():
    slow = dataclasses.replace(variant("a"), latency_us=Latency(66.0, 70.0, 250.0, None, 70.0))
    (shape,) = latency.section(outcome([slow]), {"a": 0}).distributions
    assert [mark.beyond for mark in shape.marks] == [False, False, True]
    assert shape.marks[2] == latency.Mark(100.0, "p99 250 µs →", True)
    assert 'class="quantile q3 beyond"' in page.render(outcome([slow]))


def test_a_shortened_digest_ends_in_an_ellipsis():
    assert f"<code>{'0' * 16}…</code>" in page.render(PAGES["two models"])


def test_pareto_front_joins_what_no_other_beats():
    result = outcome(
        [
            variant("slow and good", p50=80.0, top1=0.99),
            variant("fast and fair", p50=40.0, top1=0.98),
            variant("beaten", p50=60.0, top1=0.97),
        ]
    )
    found = tradeoff.section(result, {v.name: 0 for v in result.variants})
    assert [point.best for point in found.points] == [True, True, False]
    assert [point.variant.name for point in found.best] == ["fast and fair", "slow and good"]
    assert len(found.front.split()) == 3
    text = page.render(result)
    assert text.count(", on the Pareto front") == 2
    assert 'class="point beaten' in text


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (comparison("a", "b", 0.5), "b is 2.00 times as fast as a."),
        (comparison("a", "b", 1.2, "slower"), "b takes 1.20 times as long as a."),
        (comparison("a", "b", 1.0, "no verdict"), "Neither b nor a can be called faster."),
    ],
)
def test_the_headline_follows_the_verdict(entry, words):
    assert headline(outcome([variant("a"), variant("b")], [entry])) == words


@pytest.mark.parametrize(
    ("drop", "p", "words"),
    [
        (0.3, 0.01, "it loses 0.30 points of accuracy (98.50 % against 99.00 %)"),
        (-0.3, 0.01, "it gains 0.30 points"),
        (0.3, 0.2, "no more than chance"),
        (0.0, 1.0, "both answer 98.50 % rightly"),
    ],
)
def test_the_accuracy_is_put_into_words(drop, p, words):
    entry = comparison("a", "b", drop=drop, p=p)
    assert words in sentences(outcome([variant("a"), variant("b", top1=0.985)], [entry]))[0]


def test_many_comparisons_are_not_all_spelled_out():
    assert "8 more stand in the table." in sentences(PAGES["many"])


def test_footnotes_name_machine_rounds_and_data():
    lines = footnotes(PAGES["many"])
    assert lines[0] == "A CPU, 1 thread, onnxruntime 1.31.1; 100 rounds; 100 samples of mnist."
    assert lines[1].startswith("Note: Other programs")


def flipped_result(flipped, count=None):
    entry = dataclasses.replace(comparison("a", "b"), flips=count or len(flipped), flipped=flipped)
    return outcome([variant("a", labels=["cat", "dog"]), variant("b")], [entry])


def test_changed_samples_are_shown_with_their_picture_and_both_answers():
    samples = pictures()
    result = flipped_result([flip(5, 1, 1, 0, 0.97), flip(2, 0, 1, 0, 0.61)])
    (group,) = flips.section(result, samples).groups
    first, second = group.cards
    assert (first.index, first.label) == (5, "dog")
    before, now = first.answers
    assert (before.model, before.label, before.confidence, before.right) == (
        "a",
        "dog",
        "60 %",
        True,
    )
    assert (now.model, now.label, now.confidence, now.right) == ("b", "cat", "97 %", False)
    assert [entry.right for entry in second.answers] == [False, True]
    picture = Image.open(io.BytesIO(base64.b64decode(first.picture.partition(",")[2])))
    assert np.array_equal(np.asarray(picture), samples.split.images[5])
    text = page.render(result, samples)
    assert 'alt="Sample 5, class dog"' in text
    assert text.count("<img") == 2


def test_many_changed_samples_are_cut_and_counted():
    result = flipped_result([flip(index, 0, 0, 1) for index in range(30)], count=1234)
    (group,) = flips.section(result, pictures()).groups
    assert len(group.cards) == 24
    text = page.render(result, pictures())
    assert "1,234 of 100 samples" in text
    assert "Shown are the 24 that b is most sure of." in text


def test_large_pictures_are_reduced_and_samples_that_are_none_go_without():
    result = flipped_result([flip(1, 1, 1, 0)])
    (group,) = flips.section(result, pictures(shape=(400, 300, 3))).groups
    picture = Image.open(io.BytesIO(base64.b64decode(group.cards[0].picture.partition(",")[2])))
    assert picture.size == (120, 160)
    (group,) = flips.section(result, pictures(shape=(7,))).groups
    assert group.cards[0].picture is None
    assert "<img" not in page.render(result, pictures(shape=(7,)))
    assert "<img" not in page.render(result)


def test_the_difference_of_the_confusion_matrices_tells_better_from_worse():
    first, second = variant("a"), variant("b")
    changed = dataclasses.replace(second.accuracy, confusion=[[48, 3], [0, 49]])
    second = dataclasses.replace(second, accuracy=changed)
    found = confusion.section(outcome([first, second], [comparison("a", "b")]))
    (matrix,) = found.differences
    assert matrix.title == "b minus a"
    assert [[cell.text for cell in row] for row in matrix.rows] == [["−2", "+2"], ["", ""]]
    assert [cell.tone for cell in matrix.rows[0]] == ["wrong", "wrong"]
    same = confusion.section(outcome([first, variant("b")], [comparison("a", "b")]))
    assert same.differences == []


def test_many_variants_stand_in_several_tables():
    text = page.render(PAGES["many"])
    assert text.count('<table class="figures">') == 3
    assert 'aria-label="Figures, part 3 of 3"' in text
