"""`toolkit demo`."""

from pathlib import Path

import click

from toolkit.commands.options import PATH, json_option, print_result


@click.command()
@click.option(
    "-o",
    "--output",
    type=PATH,
    default=Path("demo"),
    show_default=True,
    metavar="FOLDER",
    help="Folder for the models, the curves and the report.",
)
@click.option("--full", is_flag=True, help="Train for 5 epochs instead of the fast recipe.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@json_option
def demo(output: Path, full: bool, force: bool, as_json: bool) -> None:
    """Train, export, quantize and compare the MNIST CNN: the whole chain.

    Takes a few minutes on two cores. Everything that it makes lies in one folder; open its
    report.html in a browser.
    """
    from toolkit.demonstration import DemoResult
    from toolkit.demonstration import demo as run

    def show(result: DemoResult) -> None:
        from toolkit.reporting.terminal import print_pairs

        steps = result.steps
        quantized, trained = steps["quantize"], steps["train"]
        comparison = steps["bench"]["comparisons"][0]
        low, high = comparison["interval"]
        ratio = comparison["latency_ratio"]
        print_pairs(
            [
                ("train", f"{100 * trained['test_accuracy']:.2f} % of the test images right"),
                (
                    "export",
                    f"{steps['export']['nodes']} nodes, differs from Keras by at most "
                    f"{steps['export']['parity']['max_rel_diff']:.1e} (relative)",
                ),
                (
                    "quantize",
                    f"{quantized['source_size_bytes'] / 1000:.0f} kB to "
                    f"{quantized['size_bytes'] / 1000:.0f} kB, drop "
                    f"{quantized['accuracy']['drop']:.2f} points, agreement "
                    f"{100 * quantized['agreement']:.2f} %",
                ),
                (
                    "bench",
                    f"int8 takes {ratio:.2f} of float's time [{low:.2f}, {high:.2f}]: "
                    f"{comparison['verdict']}",
                ),
                ("report", result.report),
            ],
            title=f"The whole chain in {result.seconds:.0f} seconds",
        )

    print_result(run(output, full=full, force=force), show, as_json=as_json)
