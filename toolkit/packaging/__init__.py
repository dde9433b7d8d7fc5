"""Applications around a model: a small, complete starting point in each language."""

from toolkit.packaging.application import Target
from toolkit.packaging.building import PackageResult, package

__all__ = ["PackageResult", "Target", "package"]
