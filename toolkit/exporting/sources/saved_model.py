"""SavedModel folders, of TensorFlow 2 and of TensorFlow 1.

What TensorFlow 2 wrote is called as functions. What TensorFlow 1 wrote is a graph for a session,
and goes through TensorFlow 1's loader, which opens all of them.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.contract import Contract
from toolkit.errors import ModelError
from toolkit.exporting import keras_contract, tf_graph
from toolkit.exporting.signature import Signature, Tensor
from toolkit.exporting.sources import naming
from toolkit.exporting.sources.model import (
    Array,
    SourceModel,
    fixed_batch,
    refusing,
    with_guessed_kinds,
)
from toolkit.exporting.sources.source import Source
from toolkit.quiet_tensorflow import import_tensorflow

GRAPH = "saved_model.pb"
_LIMIT_BYTES = 2**31 - 1  # of a protocol buffer
_TAG = "serve"

_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# Operators that read or write files of the user's choosing while the model runs. Those of
# checkpoints (RestoreV2) and of vocabularies are part of loading, and stay inside the folder.
_FILES = {
    "ReadFile", "WriteFile", "MatchingFiles", "LoadAndRemapMatrix", "ImmutableConst",
    "WholeFileReader", "WholeFileReaderV2", "TextLineReader", "TextLineReaderV2",
    "TFRecordReader", "TFRecordReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2",
    "TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDataset",
    "FixedLengthRecordDatasetV2", "MatchingFilesDataset", "SaveDataset", "SaveDatasetV2",
    "LoadDataset", "SnapshotDataset", "SnapshotDatasetV2", "CSVDataset", "CSVDatasetV2",
    "SqlDataset", "CreateSummaryFileWriter", "CreateSummaryDbWriter", "DebugIdentityV2",
    "DebugIdentityV3",
}  # fmt: skip


def check(source: Source) -> None:
    """Check that a folder is a SavedModel and keeps to itself."""
    path = source.path
    try:
        entries = list(path.iterdir())
        if not entries:
            raise ModelError(f"'{path}' is an empty folder; name a model.")
        if not (path / GRAPH).is_file():
            text = (
                " It holds one in text form; save it in binary form."
                if (path / "saved_model.pbtxt").exists()
                else ""
            )
            raise ModelError(
                f"'{path}' is a folder without '{GRAPH}', so no SavedModel.{text} Name a .keras, "
                ".h5, .tflite or .onnx file, or the folder that model.export() wrote."
            )
        home = path.resolve()
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                entry = Path(folder) / name
                if entry.is_symlink() and not entry.resolve().is_relative_to(home):
                    raise ModelError(
                        f"'{entry}' is a link that leads out of the SavedModel, which is not "
                        "followed. Copy the folder with its files (cp -rL) and export the copy."
                    )
                if not entry.is_dir() and not entry.is_file():
                    raise ModelError(f"'{entry}' is no regular file; the SavedModel is not opened.")
        if (path / GRAPH).stat().st_size > _LIMIT_BYTES:
            raise ModelError(f"'{path / GRAPH}' is larger than 2 GiB, more than a graph can be.")
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def load(source: Source) -> SourceModel:
    """Load one signature of a SavedModel.

    Raises:
        ModelError: It is damaged, has no signature or several without the usual one, runs Python
            code or touches files, or TensorFlow does not load it.
    """
    tf = import_tensorflow()
    path = str(source.path)
    graph = _meta_graph(source.path)
    if not source.unsafe_load:
        _refuse_operators(graph, path)
    signatures = {
        name: entry for name, entry in graph.signature_def.items() if not name.startswith("__")
    }
    key = naming.choose_signature(path, source.signature, signatures)
    with refusing(path, f"cannot be loaded by TensorFlow {tf.__version__}"):
        loader = _functions if graph.HasField("object_graph_def") else _session
        return loader(source, list(graph.meta_info_def.tags), key, signatures[key])


def _meta_graph(path: Path) -> Any:
    """Return the graph to serve: the one with that tag, or the only one."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((path / GRAPH).read_bytes())
    except DecodeError as error:
        raise ModelError(f"'{path / GRAPH}' is damaged or no SavedModel; save it again.") from error
    graphs = list(saved.meta_graphs)
    for graph in graphs:
        if list(graph.meta_info_def.tags) == [_TAG]:
            return graph
    if len(graphs) != 1:
        tags = ", ".join(str(list(graph.meta_info_def.tags)) for graph in graphs) or "none"
        raise ModelError(
            f"'{path}' has no graph with the tag '{_TAG}', but these: {tags}. Save it for serving."
        )
    return graphs[0]


def _refuse_operators(graph: Any, path: str) -> None:
    """Refuse operators that call Python or touch files, wherever they stand."""
    for node in _nodes(graph.graph_def):
        if node.op in _PYTHON:
            raise ModelError(
                f"'{path}': the node '{node.name}' ({node.op}) calls a Python function, which only "
                "the program that saved the model has. Build that part from TensorFlow's operators."
            )
        stream = node.attr["output_stream"].s if node.op == "PrintV2" else b""
        if node.op in _FILES or stream.startswith(b"file:"):
            raise ModelError(
                f"'{path}': the node '{node.name}' ({node.op}) reads or writes files, which a "
                "model may not do here. Do that outside of the model, or allow it with "
                "--unsafe-load."
            )


def _nodes(graph_def: Any) -> Iterator[Any]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _functions(source: Source, tags: list[str], key: str, _: Any) -> SourceModel:
    """Load what TensorFlow 2 wrote."""
    import tensorflow as tf

    path = str(source.path)
    loaded = tf.saved_model.load(path, tags=tags)
    function = loaded.signatures[key]
    taken, given = function.structured_input_signature[1], function.structured_outputs
    signature = Signature(
        tuple(_tensor(path, name, taken[name]) for name in _ordered(taken)),
        tuple(_tensor(path, name, given[name]) for name in _ordered(given)),
    )

    def call(*tensors: Any) -> list[Any]:
        names = (tensor.name for tensor in signature.inputs)
        found = function(**dict(zip(names, tensors, strict=True)))
        # Freed together with `loaded`, its variables would be gone: keep it as long as this.
        return [found[tensor.name] for tensor in signature.outputs] if loaded else []

    def run(tensors: Iterable[Array]) -> list[Array]:
        with refusing(path, "cannot be run by TensorFlow"):
            return [np.asarray(output) for output in call(*map(tf.constant, tensors))]

    contract = _contract(source, signature)

    def convert(opset: int, batch: int | None) -> Any:
        def freeze() -> tf_graph.Frozen:
            traced = tf_graph.trace(call, signature.inputs, batch)
            return tf_graph.freeze(traced.get_concrete_function())

        return tf_graph.to_onnx(freeze, _names(signature), source.path.name, opset)

    return _model(source, contract, run, convert)


def _session(source: Source, tags: list[str], key: str, definition: Any) -> SourceModel:
    """Load what TensorFlow 1 wrote."""
    import tensorflow as tf

    path = str(source.path)
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph)
    with graph.as_default():
        tf.compat.v1.saved_model.load(session, tags, path)
    tensors = {
        name: graph.get_tensor_by_name(_tensor_name(path, name, info))
        for infos in (definition.inputs, definition.outputs)
        for name, info in infos.items()
    }
    with graph.as_default():
        results = {name: tf.identity(tensors[name]) for name in _ordered(definition.outputs)}
    feeds = {name: tensors[name] for name in _ordered(definition.inputs)}
    signature = Signature(
        tuple(_tensor(path, name, tensor) for name, tensor in feeds.items()),
        tuple(_tensor(path, name, tensor) for name, tensor in results.items()),
    )

    def run(arrays: Iterable[Array]) -> list[Array]:
        fed = dict(zip(feeds.values(), arrays, strict=True))
        with refusing(path, "cannot be run by TensorFlow"):
            return list(session.run(list(results.values()), fed))

    def convert(opset: int, batch: int | None) -> Any:
        def freeze() -> tf_graph.Frozen:
            frozen = tf.compat.v1.graph_util.convert_variables_to_constants(
                session, graph.as_graph_def(), [tensor.op.name for tensor in results.values()]
            )
            placeholders = {tensor.op.name for tensor in feeds.values()}
            for node in frozen.node:
                if node.op == "PlaceholderWithDefault":
                    _settle(node, fed=node.name in placeholders)
                if batch is not None and node.name in placeholders:
                    node.attr["shape"].shape.dim[0].size = batch
            return tf_graph.Frozen(
                frozen,
                tuple(tensor.name for tensor in feeds.values()),
                tuple(tensor.name for tensor in results.values()),
            )

        return tf_graph.to_onnx(freeze, _names(signature), source.path.name, opset)

    return _model(source, _contract(source, signature), run, convert)


def _settle(node: Any, *, fed: bool) -> None:
    """Make an input of a placeholder that has a default and is fed, else its default."""
    dtype = node.attr["dtype"].type
    if fed:
        node.op = "Placeholder"
        del node.input[:]
        return
    node.op = "Identity"
    node.attr.clear()
    node.attr["T"].type = dtype


def _model(source: Source, contract: Contract, run: Any, convert: Any) -> SourceModel:
    import tensorflow as tf
    import tf2onnx

    model = SourceModel(
        computed_by="TensorFlow",
        contract=contract,
        run=run,
        convert=convert,
        versions={"tensorflow": tf.__version__, "tf2onnx": tf2onnx.__version__},
        batch=fixed_batch(contract, str(source.path)),
    )
    return with_guessed_kinds(model)


def _contract(source: Source, signature: Signature) -> Contract:
    return keras_contract.fit(
        None,
        signature,
        name=source.path.resolve().name,
        kinds=["raw"] * len(signature.outputs),
        source=str(source.path),
    )


def _names(signature: Signature) -> list[str]:
    return [tensor.name for tensor in (*signature.inputs, *signature.outputs)]


def _ordered(names: Mapping[str, Any]) -> list[str]:
    """Order names as people count: ``output_2`` before ``output_10``."""
    return sorted(
        names, key=lambda name: [int(part) if part.isdigit() else part for part in
                                 re.split(r"(\d+)", name)]
    )  # fmt: skip


def _tensor(path: str, name: str, tensor: Any) -> Tensor:
    if tensor.shape.rank is None:
        raise ModelError(
            f"'{path}': the tensor '{name}' has no shape; save the model with an input of known "
            "rank."
        )
    return Tensor(name, tensor.dtype.base_dtype.name, tuple(tensor.shape.as_list()))


def _tensor_name(path: str, name: str, info: Any) -> str:
    if info.WhichOneof("encoding") != "name":
        raise ModelError(
            f"'{path}': the tensor '{name}' is sparse or composed, for which ONNX has no form."
        )
    return str(info.name)
