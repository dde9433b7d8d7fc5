"""Exports a source in this process, as the child process does it, for the tests of each kind."""

import onnx_ir as ir

from toolkit import graph
from toolkit.exporting import parity, references, refusals
from toolkit.exporting.sources import loading, open_source


def export_here(path, *, opset=17, batch=None, **options):
    """Return the loaded source, the cleaned ONNX model and the comparison of the two."""
    model = loading.load(open_source(path, **options))
    model.refuse()
    cases = references.make_cases(model, model.contract.inputs, None, batch or model.batch)
    converted = ir.from_proto(model.convert(opset, batch or model.batch))
    refusals.refuse_unknown(converted, model.layers, str(path))
    graph.clean(converted)
    content = ir.to_proto(converted).SerializeToString()
    limit = parity.limit_of(converted, arithmetic=model.arithmetic)
    compared = parity.compare(content, model.contract, cases, limit, model.computed_by)
    return model, converted, compared


def names(values):
    return [value.name for value in values]
