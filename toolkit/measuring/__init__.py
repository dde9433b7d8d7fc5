"""Latency, accuracy, memory and statistics; needs numpy and onnxruntime alone.

Together with toolkit.runtime, toolkit.contract and toolkit.errors this package can travel to a
device.
"""
