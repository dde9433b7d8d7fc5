"""Finds the graph optimizer of onnxruntime that changes a model's results.

onnxruntime rewrites a graph while it loads it, and some of its rewrites are wrong for some graphs
(Pad_Fusion turns zero padding into minus infinity before a maximum pooling). It can leave single
optimizers out by name, so the one at fault is found by halving the list.
"""

from collections.abc import Callable, Sequence
from typing import Any

from toolkit.runtime.session import import_onnxruntime

# The optimizers and rules that onnxruntime 1.16 to 1.31 apply on the CPU, as they name themselves
# in its verbose log ("GraphTransformer X modified") and in its rewrite rules. It ignores names
# that a version does not know.
OPTIMIZERS = (
    # rules of Level1_RuleBasedTransformer and Level2_RuleBasedTransformer
    "EliminateIdentity", "EliminateSlice", "UnsqueezeElimination", "EliminateDropout",
    "ExpandElimination", "CastElimination", "CastChainElimination", "PreShapeNodeElimination",
    "NoopElimination", "DivMulFusion", "FuseReluClip", "GemmSumFusion", "GemmTransposeFusion",
    "NotWhereFusion", "ConvAddFusion", "ConvMulFusion", "ConvBNFusion", "Pad_Fusion",
    "MatMul_BatchNormalization_Fusion", "LabelEncoderFusion", "ClipQuantRewrite",
    "ReluQuantRewrite",
    # transformers
    "EnsureUniqueDQForNodeUnit", "DoubleQDQPairsRemover", "ConstantSharing",
    "CommonSubexpressionElimination", "ConstantFolding", "MatMulAddFusion", "ReshapeFusion",
    "FreeDimensionOverrideTransformer", "SliceConcatToSpaceToDepthFusion", "GeluFusionL1",
    "LayerNormFusionL1", "QDQPropagationTransformer", "WeightBiasQuantization", "WhereDummyDq",
    "TransposeOptimizer", "TransposeOptimizer_CPUExecutionProvider", "QDQS8ToU8Transformer",
    "QDQSelectorActionTransformer", "GemmActivationFusion", "MatMulIntegerToFloatFusion",
    "DynamicQuantizeMatMulFusion", "ConvActivationFusion", "GeluFusionL2", "LayerNormFusionL2",
    "SimplifiedLayerNormFusion", "AttentionFusion", "EmbedLayerNormFusion",
    "GatherSliceToSplitFusion", "GatherToSliceFusion", "MatmulTransposeFusion", "BiasGeluFusion",
    "GroupQueryAttentionFusion", "SkipLayerNormFusion", "BiasSkipLayerNormFusion",
    "FastGeluFusion", "QuickGeluFusion", "BiasSoftmaxFusion", "BiasDropoutFusion",
    "MatMulScaleFusion", "MatMulActivationFusion", "MatMulNBitsFusion",
    "QDQFinalCleanupTransformer", "NchwcTransformer", "NhwcTransformer",
    "ConvAddActivationFusion", "RemoveDuplicateCastTransformer",
)  # fmt: skip

_FATAL = 4  # onnxruntime's log level: what fails here is reported by the caller


def guilty_optimizers(
    model: bytes, is_right: Callable[[Any], bool], names: Sequence[str] = OPTIMIZERS
) -> tuple[str, ...]:
    """Return a smallest set of optimizers without which the model is right.

    Args:
        model: A serialized ONNX model that is right without optimizations and wrong with them.
        is_right: Judges an ``onnxruntime.InferenceSession`` of it.
        names: The optimizers that may be at fault.

    Returns:
        Their names; nothing when leaving out all of them does not help.
    """

    def helps(left_out: Sequence[str]) -> bool:
        session = _session(model, left_out)
        return session is not None and is_right(session)

    guilty = list(names)
    if not helps(guilty):
        return ()
    while len(guilty) > 1:
        middle = len(guilty) // 2
        half = next((part for part in (guilty[:middle], guilty[middle:]) if helps(part)), None)
        if half is None:
            break
        guilty = half
    # Several at fault: what is left is small, and each is tried on its own.
    for name in list(guilty):
        rest = [other for other in guilty if other != name]
        if rest and helps(rest):
            guilty = rest
    return tuple(guilty)


def _session(model: bytes, left_out: Sequence[str]) -> Any | None:
    """Return a session without some optimizers, or None when the model does not load."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    try:
        return ort.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(left_out),
        )
    except Exception:  # onnxruntime's exceptions share no other base class
        return None
