"""The console commands, run in this process."""

import io
from contextlib import redirect_stderr, redirect_stdout

from evcharge.cli import main


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the command: exit status, standard output and error."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(arguments)
    except SystemExit as ended:
        return ended.code, out.getvalue(), err.getvalue()
