"""`toolkit doctor`."""

import sys

import click

from toolkit.commands.options import json_option, print_result


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Report what this machine can run, what is missing and the command that mends it.

    Looks at Python, the packages, the execution providers that really work (by a session, not
    by their names), and the CPU's int8 features. Exits with 1 when something must be mended.
    """
    from toolkit.diagnosis import DoctorResult
    from toolkit.diagnosis import doctor as look

    def show(result: DoctorResult) -> None:
        from toolkit.reporting.terminal import print_table

        marks = {"ok": "ok", "missing": "-", "problem": "PROBLEM"}
        print_table(
            [[f.topic, f.name, marks[f.status], f.detail] for f in result.findings],
            left=(0, 1, 2, 3),
        )
        remedies = [(f.name, f.remedy) for f in result.findings if f.remedy]
        if remedies:
            click.echo()
            print_table(
                [[name, remedy] for name, remedy in remedies], ["to mend", "do"], left=(0, 1)
            )

    result = look()
    print_result(result, show, as_json=as_json)
    if not result.healthy:
        sys.exit(1)
