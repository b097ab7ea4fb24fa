"""What the list of processes shows of this one."""

from __future__ import annotations

import sys
from collections.abc import Callable


def hide_passwords(hide: Callable[[str], str]) -> None:
    """
    Show the command line without its passwords, for every user of the machine can read it.

    Nothing changes where there is none to hide. It takes the package `setproctitle`, which comes
    with the extra `postgresql`; without it the command line stays as it was typed.

    :param hide: an argument -> what may be seen of it.
    """
    shown = [hide(argument) for argument in sys.orig_argv]
    if shown == sys.orig_argv:
        return
    try:
        from setproctitle import getthreadtitle, setproctitle, setthreadtitle
    except ImportError:
        return
    # Setting the title sets the short name as well, by which `pgrep` and `killall` know us.
    name = getthreadtitle()
    setproctitle(" ".join(shown))
    setthreadtitle(name)
