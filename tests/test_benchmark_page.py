import dataclasses
import html.parser
import re
from pathlib import Path

import pytest

from toolkit.benchmark import Accuracy, BenchResult, Comparison, Latency, Variant, page
from toolkit.benchmark.nodes import ProfileRow
from toolkit.benchmark.summary import footnotes, headline, sentences
from toolkit.measuring.profile import NodeTime

NASTY = '<script>alert("x")</script>&"\''


def variant(name, *, model=None, p50=66.0, top1=0.99, labels=None, size=900_000, batch=1):
    confusion = [[50, 1], [0, 49]]
    return Variant(
        name=name,
        model=model or name,
        path=f"{name}.onnx",
        sha256="0" * 64,
        size_bytes=size,
        compressed_bytes=size // 2,
        providers=["CPUExecutionProvider"],
        threads=1,
        batch=batch,
        shapes={"image": [batch, 28, 28, 1]},
        accuracy=None
        if top1 is None
        else Accuracy(100, top1, (top1 - 0.004, min(1.0, top1 + 0.003)), 0.99, confusion),
        latency_us=Latency(p50, p50 * 1.1, p50 * 1.5, None, p50 * 1.05),
        calls=4000,
        warmup_calls=20,
        throughput_per_s=1e6 / p50,
        cpu_us=p50,
        import_ms=150.0,
        load_ms=9.0,
        first_run_ms=0.8,
        peak_rss_mib=58.0,
        rss_over_runtime_mib=11.6,
        histogram=[0, 3, 9, 4, 1, 0],
        labels=labels,
    )


def comparison(baseline, candidate, ratio=0.6, verdict="faster", drop=0.1, p=0.4):
    return Comparison(
        baseline, candidate, ratio, (ratio - 0.01, ratio + 0.01), verdict, drop, p,
        None if drop is None else 2, None if drop is None else [],
    )  # fmt: skip


def outcome(variants, comparisons=(), notices=(), data="mnist"):
    return BenchResult(
        variants=list(variants),
        comparisons=list(comparisons),
        data=data,
        part="test" if data else None,
        samples=100 if data else None,
        rounds=100,
        seconds=5.0,
        runtime_rss_mib=46.4,
        histogram_edges_us=[40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0],
        options={"spinning": True, "arena": True, "optimization": "all", "cpus": None},
        profile=None,
        notices=list(notices),
        environment={
            "cpu": "A CPU", "cpu_features": ["avx2"], "cores": 2, "machine": "x86_64",
            "system": "Linux 6", "python": "3.11", "numpy": "2.4", "onnxruntime": "1.31.1",
            "load_average": 0.4, "governor": None, "time": "2026-01-01T00:00:00+00:00",
            "command": "toolkit bench a.onnx",
        },
    )  # fmt: skip


class Reader(html.parser.HTMLParser):
    """Checks that elements close in the order they open, and gathers what the page refers to."""

    VOID = frozenset({"meta", "link", "br", "polygon", "polyline"})

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


PAGES = {
    "two models": outcome(
        [variant("a"), variant("b", p50=40.0, top1=0.985)], [comparison("a", "b")]
    ),
    "one model without data": outcome([variant("a", top1=None)], data=None),
    "no labels": outcome(
        [variant("a", top1=None), variant("b", top1=None)], [comparison("a", "b", drop=None)]
    ),
    "many": outcome(
        [variant(f"m{index}", p50=50.0 + index, top1=0.9 + index / 200) for index in range(12)],
        [comparison("m0", f"m{index}", 1.0 + index / 50, "slower") for index in range(1, 12)],
        ["Other programs used 1.4 of 2 cores."],
    ),
    "profile": dataclasses.replace(
        outcome([variant("a"), variant("b")], [comparison("a", "b")]),
        profile=[
            ProfileRow("Conv", NASTY, {"a": NodeTime(NASTY, "Conv", "CPUExecutionProvider", 9.0)}),
            ProfileRow("Gemm", "dense", {"b": NodeTime("d", "QGemm", "CPUExecutionProvider", 4.0)}),
        ],
    ),
    "equal models": outcome(
        [variant("a", top1=1.0), variant("b", top1=1.0)],
        [comparison("a", "b", 1.0, "no verdict", 0.0, 1.0)],
    ),
}


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
    result = outcome(
        [variant(NASTY, labels=[NASTY, "b"]), variant("b")],
        [comparison(NASTY, "b")],
        [f"'{NASTY}' is strange."],
        data=NASTY,
    )
    text = page.render(result)
    assert "<script" not in text
    assert 'alert("x")' not in text
    Reader(text)
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
    css = (Path(page.__file__).parent / "page.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\n *\}", css, re.DOTALL)[:2]
    )

    def luminance(color):
        channels = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(first, second):
        low, high = sorted([luminance(first), luminance(second)])
        return (high + 0.05) / (low + 0.05)

    for theme in (light, dark):
        for ground in ("page", "panel"):
            for text in ("ink", "soft", "good", "bad"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
            for index in range(8):
                assert contrast(theme[f"c{index}"], theme[ground]) >= 3, (index, ground)


def test_a_quantile_off_the_axis_is_marked_at_its_end_with_its_value():
    slow = dataclasses.replace(variant("a"), latency_us=Latency(66.0, 70.0, 250.0, None, 70.0))
    (shape,) = page._content(outcome([slow]))["distributions"]
    assert [mark.beyond for mark in shape.marks] == [False, False, True]
    assert shape.marks[2] == page.Mark(100.0, "p99 250 µs →", True)
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
    points, _, _ = page._scatter(result, {v.name: 0 for v in result.variants})
    assert [point.best for point in points] == [True, True, False]
    assert len(page._front(points).split()) == 3


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
