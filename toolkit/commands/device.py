"""`toolkit device`: list, describe and set up the devices that models can run on."""

from typing import TYPE_CHECKING

import click

from toolkit.commands.options import json_option, print_result

if TYPE_CHECKING:
    from toolkit.devices import Description
    from toolkit.devices.listing import ListResult
    from toolkit.devices.setup import SetupResult


@click.group()
def device() -> None:
    """Set up and describe the devices that models can run on.

    Commands with --device take local, emulated:CPU, or ssh://user@host[:port][/folder].
    """


@device.command("list")
@json_option
def list_devices(as_json: bool) -> None:
    """List the devices that need no address, and whether they are set up."""
    from toolkit.devices.listing import list_devices as look

    def show(result: "ListResult") -> None:
        from toolkit.reporting.terminal import note, print_table

        print_table(
            [
                [entry.spec, entry.int8, entry.note, "ready" if entry.ready else "not set up"]
                for entry in result.devices
            ],
            ["device", "int8 kernels", "stands for", ""],
            left=(0, 1, 2, 3),
        )
        if result.remedy:
            note(result.remedy)

    print_result(look(), show, as_json=as_json)


@device.command()
@click.argument("spec", metavar="DEVICE")
@click.option(
    "--install",
    is_flag=True,
    help="Install onnxruntime on an ssh device that lacks it, in a virtual environment of its own.",
)
@json_option
def describe(spec: str, install: bool, as_json: bool) -> None:
    """Show what a device is: CPU, memory, versions, int8 kernels, heat."""
    from toolkit.devices import open_device

    with open_device(spec, install=install) as opened:
        description = opened.describe()
    print_result(description, _show, as_json=as_json)


@device.command()
@click.argument("spec", metavar="emulated|DEVICE")
@click.option(
    "--mirror",
    metavar="URL",
    help="Mirror of Debian to take qemu and Python from.  [default: the one in apt's sources]",
)
@json_option
def setup(spec: str, mirror: str | None, as_json: bool) -> None:
    """Prepare the emulated CPUs, or install onnxruntime on an ssh device.

    `toolkit device setup emulated` puts qemu and an ARM Python with onnxruntime into a folder of
    the cache (about 20 s, 220 MB); nothing is installed into the system. On ssh://... it makes a
    virtual environment in the folder of the address.
    """
    from toolkit.devices.setup import setup_device

    def show(result: "SetupResult") -> None:
        from toolkit.reporting.terminal import print_pairs

        print_pairs(
            [
                ("device", result.spec),
                ("folder", result.folder),
                ("onnxruntime", result.onnxruntime),
                ("size", "" if result.size_bytes is None else f"{result.size_bytes / 1e6:.0f} MB"),
                ("", "set up" if result.made else "was set up already"),
            ]
        )

    from toolkit.reporting.terminal import note

    print_result(setup_device(spec, mirror=mirror, note=note), show, as_json=as_json)


def _show(found: "Description") -> None:
    from toolkit.reporting.terminal import print_pairs

    pairs = [
        ("device", found.spec),
        ("board", found.board),
        ("cpu", f"{found.cpu} ({found.machine}, {found.cores} cores)"),
        ("features", ", ".join(found.cpu_features)),
        ("int8 kernels", f"{found.int8.name}: {found.int8.reason}"),
        ("recipe", found.int8.recipe),
        ("memory", found.memory_mib and f"{found.memory_mib:,} MiB"),
        ("system", found.system),
        ("python", f"{found.python}, numpy {found.numpy}"),
        ("onnxruntime", f"{found.onnxruntime} ({', '.join(found.providers)})"),
        ("temperature", found.temperature_c and f"{found.temperature_c:.0f} °C"),
        ("clock", found.frequency_mhz and f"{found.frequency_mhz:,.0f} MHz"),
        ("governor", found.governor),
        (
            "slowed down",
            ", ".join(found.throttled) or "no" if found.throttled is not None else None,
        ),
        ("times", "mean nothing: emulated" if found.emulated else None),
    ]
    print_pairs([(name, value) for name, value in pairs if value])
