"""Where a model runs: this machine, an emulated CPU, or another machine over ssh.

with open_device("emulated:cortex-a53") as device:
    print(device.describe().int8.name)
    [answer] = device.infer([(Path("mnist_cnn.int8.onnx"), {"image": pixels})])
"""

from toolkit.devices.device import Description, Device, Measured, Run
from toolkit.devices.opening import SPECS, open_device

__all__ = ["SPECS", "Description", "Device", "Measured", "Run", "open_device"]
