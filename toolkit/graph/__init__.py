"""ONNX graphs: rewritten by passes, read and edited by what the passes share.

passes/         one rewrite rule per file; each keeps the outputs
cleaning        which passes clean a graph, in what order, and which of them are left out
editing         constants in and out, nodes replaced
matching        operators, attributes and operands recognised
layouts         operators that work in any layout
shape_values    the small integer tensors that hold shapes
extents/        how much of its inputs an operator reads
"""

from toolkit.graph.cleaning import PASSES, clean

__all__ = ["PASSES", "clean"]
