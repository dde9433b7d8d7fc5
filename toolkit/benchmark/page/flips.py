"""The samples that two models answer differently, each with both answers."""

from dataclasses import dataclass

from toolkit.benchmark.result import BenchResult, Flip
from toolkit.benchmark.samples import Samples
from toolkit.benchmark.summary import percent
from toolkit.reporting.pictures import data_uri, is_picture, to_picture

_SHOWN = 24  # of one comparison
_COMPARISONS = 3  # whose samples are shown: each picture is part of the page
_LARGEST = 160  # pixels of a side


@dataclass(frozen=True)
class Answer:
    """A model's answer: whose, the class, how sure, and whether it is right (None: unknown)."""

    model: str
    label: str
    confidence: str
    right: bool | None


@dataclass(frozen=True)
class Card:
    """A sample: its number, its picture as a data URI (or None), its class, both answers."""

    index: int
    picture: str | None
    label: str | None
    answers: tuple[Answer, Answer]


@dataclass(frozen=True)
class Group:
    """The samples of one comparison; ``count`` of all, of which the cards are some.

    Attributes:
        baseline: The baseline's model.
        candidate: The other one.
        count: Samples that the two answer differently.
        lost: Of these, how many only the baseline gets right; None without labels.
        won: How many only the other gets right; None without labels.
        cards: The most confident ones.
        pixelated: Whether the pictures are small and shown enlarged.
    """

    baseline: str
    candidate: str
    count: int
    lost: int | None
    won: int | None
    cards: list[Card]
    pixelated: bool


@dataclass(frozen=True)
class Flips:
    """Some of the comparisons; ``hidden`` are those that are not shown."""

    groups: list[Group]
    hidden: int


def section(result: BenchResult, samples: Samples | None) -> Flips | None:
    """Return the section, or None when no sample is answered differently."""
    groups: dict[tuple[str, str], Group] = {}
    for entry in result.comparisons:
        baseline, candidate = result.variant(entry.baseline), result.variant(entry.candidate)
        pair = (baseline.model, candidate.model)
        if not entry.flipped or not entry.flips or pair in groups:
            continue
        labels = baseline.labels or candidate.labels
        theirs = None if baseline.accuracy is None else baseline.accuracy.wrong
        ours = None if candidate.accuracy is None else candidate.accuracy.wrong
        known = theirs is not None and ours is not None
        groups[pair] = Group(
            baseline=baseline.model,
            candidate=candidate.model,
            count=entry.flips,
            lost=len(set(ours or ()) - set(theirs or ())) if known else None,
            won=len(set(theirs or ()) - set(ours or ())) if known else None,
            cards=[
                _card(flip, pair, labels, samples if len(groups) < _COMPARISONS else None)
                for flip in entry.flipped[:_SHOWN]
            ],
            pixelated=samples is not None and _side(samples) <= _LARGEST // 2,
        )
    shown = list(groups.values())[:_COMPARISONS]
    return Flips(shown, len(groups) - len(shown)) if groups else None


def _card(
    flip: Flip, pair: tuple[str, str], labels: list[str] | None, samples: Samples | None
) -> Card:
    def name(index: int) -> str:
        return labels[index] if labels is not None and index < len(labels) else str(index)

    def answer(model: str, index: int, confidence: float) -> Answer:
        right = None if flip.label is None else index == flip.label
        return Answer(model, name(index), percent(confidence, 0), right)

    return Card(
        index=flip.index,
        picture=None if samples is None else _picture(samples, flip.index),
        label=None if flip.label is None else name(flip.label),
        answers=(
            answer(pair[0], flip.baseline, flip.baseline_confidence),
            answer(pair[1], flip.candidate, flip.candidate_confidence),
        ),
    )


def _picture(samples: Samples, index: int) -> str | None:
    sample = samples.split.images[slice(index, index + 1)][0]
    return data_uri(to_picture(sample), largest=_LARGEST) if is_picture(sample.shape) else None


def _side(samples: Samples) -> int:
    shape = samples.split.images[slice(0, 1)].shape[1:3]
    return max(shape, default=0)
