"""`toolkit verify`."""

import sys
from pathlib import Path

import click

from toolkit.commands.options import data_option, json_option, print_result


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("local",),
    show_default="local",
    metavar="DEVICE",
    help="local, emulated:CPU, emulated (all of these), or ssh://user@host[:port][/folder]; "
    "may be given several times.",
)
@data_option()
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Compare on N samples of the data's training part, not on those in the file.",
)
@click.option("--attach", is_flag=True, help="Write golden samples into the models.")
@click.option(
    "--install",
    is_flag=True,
    help="Install onnxruntime on an ssh device that lacks it, in a virtual environment of its own.",
)
@json_option
def verify(
    models: tuple[str, ...],
    devices: tuple[str, ...],
    data: str | None,
    samples: int | None,
    attach: bool,
    install: bool,
    as_json: bool,
) -> None:
    """Check that models give the same answers on other devices.

    Runs the golden samples that a model carries on each device and compares: all-int8 models bit
    for bit, mixed ones within one output step, float ones within a tolerance. A model without
    golden samples is compared with this machine's answers, on samples of --data, of the data it
    was trained on, or on random ones. Exits with 3 when a model fails on a device.
    """
    from toolkit.verification import VerifyResult
    from toolkit.verification import verify as check

    def show(result: VerifyResult) -> None:
        from toolkit.reporting.terminal import note, print_table

        devices = {device.spec: device for device in result.devices}
        print_table(
            [
                [
                    entry.device,
                    devices[entry.device].int8.name,
                    Path(entry.model).name,
                    entry.rule,
                    f"{entry.max_abs_diff:.1e}" if entry.max_abs_diff else "0",
                    f"{entry.allowed:.1e}" if entry.allowed else "0",
                    f"{entry.class_changes:,} of {entry.samples:,}",
                    "same" if entry.passed else "DIFFERS",
                ]
                for entry in result.checks
            ],
            ["device", "int8 kernels", "model", "must be equal", "largest difference", "allowed",
             "other class", ""],
            left=(0, 1, 2, 3, 7),
        )  # fmt: skip
        for model, reference in result.references.items():
            note(f"{model}: compared with {reference}.")
        if result.attached:
            note(f"Golden samples written into the file: {result.attached} each.")
        for device in result.devices:
            failed = [check for check in result.checks if check.device == device.spec]
            if not device.int8.exact and not all(check.passed for check in failed):
                note(
                    f"{device.spec}: {device.int8.reason}. Quantize for it with "
                    f"--recipe {device.int8.recipe}."
                )

    result = check(
        models, device=devices, data=data, samples=samples, attach=attach, install=install
    )
    print_result(result, show, as_json=as_json)
    if not result.passed:
        sys.exit(3)
