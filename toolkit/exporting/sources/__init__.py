"""The kinds of model that `export` reads: one module for each.

A kind is looked at in the parent (`opening`), loaded in the child process (`loading`), and is a
`SourceModel` from there on: a contract, the graph, and the outputs to compare with.
"""

from toolkit.exporting.sources.opening import open_source
from toolkit.exporting.sources.source import Source

__all__ = ["Source", "open_source"]
