"""Applications around a model: a small, complete starting point in each language."""

from toolkit.packaging.application import Target
from toolkit.packaging.building import PackageResult, package
from toolkit.packaging.verifying import PackageCheck, verify_package

__all__ = ["PackageCheck", "PackageResult", "Target", "package", "verify_package"]
