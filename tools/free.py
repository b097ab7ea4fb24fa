"""
Whether a port of this machine's loopback addresses is free: `python tools/free.py 8080`.

The exit status is 1 where somebody listens there, by IPv4 or by IPv6, else 0: also where it cannot
be told, as what cannot be listened at for another reason is better said by who tries in earnest.
"""

import errno
import socket
import sys

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def is_taken(port: int) -> bool:
    """Whether one who would listen at both loopback addresses is told that another does."""
    for family, host in LOOPBACK.items():
        try:
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
    return False


if __name__ == "__main__":
    number = sys.argv[1]
    is_number = number.isascii() and number.isdigit() and int(number) <= 65535
    sys.exit(1 if is_number and is_taken(int(number)) else 0)
