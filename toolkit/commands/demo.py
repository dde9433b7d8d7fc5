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

        trained, exported, quantized = (
            result.steps[name] for name in ("train", "export", "quantize")
        )
        comparison = result.steps["bench"]["comparisons"][0]
        low, high = comparison["interval"]
        right = f"{100 * trained['test_accuracy']:.2f} % of the test images right"
        parity = f"differs from Keras by {exported['parity']['max_rel_diff']:.1e} at most"
        size_kb = [quantized[key] / 1000 for key in ("source_size_bytes", "size_bytes")]
        drop, agreement = quantized["accuracy"]["drop"], 100 * quantized["agreement"]
        cost = f"drop {drop:.2f} points, agreement {agreement:.2f} %"
        ratio = f"{comparison['latency_ratio']:.3f} of float's time [{low:.3f}, {high:.3f}]"
        print_pairs(
            [
                ("train", right),
                ("export", f"{exported['nodes']} nodes; {parity}"),
                ("quantize", f"{size_kb[0]:,.1f} kB to {size_kb[1]:,.1f} kB; {cost}"),
                ("bench", f"int8 takes {ratio}: {comparison['verdict']}"),
                ("mistakes", result.steps["evaluate"]["errors"]),
                ("report", result.report),
            ],
            title=f"The whole chain in {result.seconds:.0f} seconds",
        )

    print_result(run(output, full=full, force=force), show, as_json=as_json)
