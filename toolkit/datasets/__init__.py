"""Datasets of labelled images: embedded, downloaded, or the user's own files.

Validation is held out of the training data, calibration samples come from the training data,
and the test data is for the final figure alone.
"""

from toolkit.datasets.dataset import Dataset, Part, Split, evaluation_split, match_labels, sample
from toolkit.datasets.loading import load_dataset

__all__ = ["Dataset", "Part", "Split", "evaluation_split", "load_dataset", "match_labels", "sample"]
