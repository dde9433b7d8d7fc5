"""Where a model runs: this machine, an emulated CPU, or another machine over ssh.

with open_device("emulated:cortex-a53") as device:
    found = device.infer([(Path("mnist_cnn.int8.onnx"), {"image": pixels})])
print(found.device.int8.name, found.outputs[0]["probabilities"])

A device keeps code and models by their hash; all else goes through pipes.
"""

from toolkit.devices.device import Description, Device, Inferred, Measured, Run
from toolkit.devices.opening import SPECS, open_device

__all__ = ["SPECS", "Description", "Device", "Inferred", "Measured", "Run", "open_device"]
