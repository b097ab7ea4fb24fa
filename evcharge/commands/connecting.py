"""The server that `ask` and `drive` talk to: the options that name it, and why it is silent."""

from __future__ import annotations

import argparse
import shlex
import socket
import ssl
from collections.abc import Callable

from evcharge.client import PORT, TIMEOUT_S, Client, NoReply
from evcharge.commands import NO_REPLY, USAGE, Exit
from evcharge.outcomes import LANGUAGES, Phrase

LOCAL = "127.0.0.1"
HERE = (LOCAL, "::1", "localhost")

NOBODY_LISTENS = Phrase(
    "nenhum servidor em {where}: inicie um com: make run",
    "no server at {where}: start one with: make run",
)
NOBODY_LISTENS_THERE = Phrase(
    "nenhum servidor em {where}: ele está no ar? Confira o endereço (--host) e a porta (--port)",
    "no server at {where}: is it running? Check its address (--host) and port (--port)",
)
UNKNOWN_HOST = Phrase(
    "{where}: o nome não é conhecido: confira --host",
    "{where}: the name is not known: check --host",
)
TOO_SLOW = Phrase(
    "{where}: sem resposta em {seconds} s: o servidor está sobrecarregado, ou não é do evcharge; "
    "--timeout espera mais",
    "{where}: no reply within {seconds} s: the server is overloaded, or none of evcharge's; "
    "--timeout waits longer",
)
CLOSED = Phrase(
    "{where}: a conexão foi fechada sem resposta: o servidor foi encerrado, ou a porta é outra",
    "{where}: the connection was closed without a reply: the server has ended, or it is another "
    "port",
)
NOT_EVCHARGE = Phrase(
    "{where}: quem responde aí não é um servidor evcharge: confira --port (e --tls)",
    "{where}: what answers there is no evcharge server: check --port (and --tls)",
)
NOT_BELIEVED = Phrase(
    "{where}: o certificado não foi aceito: {why}. Diga com --ca em qual confiar, e com --host o "
    "nome que está nele",
    "{where}: the certificate is not accepted: {why}. Say with --ca which one to trust, and with "
    "--host the name that is in it",
)
NO_TLS = Phrase(
    "{where}: não se chegou a um acordo sobre TLS: {why}. Esta porta fala TLS? Sem, deixe fora "
    "--tls e --ca",
    "{where}: TLS could not be agreed on: {why}. Does this port speak it? If not, leave out --tls "
    "and --ca",
)
OTHER = Phrase("{where}: {why}", "{where}: {why}")


def add_server_options(parser: argparse.ArgumentParser, language: str) -> None:
    """
    Add the options that say where the server is.

    :param language: that errors are told in unless the person asks for another.
    """
    parser.add_argument(
        "--host", default=LOCAL, help="name or IP address of the server (default %(default)s)"
    )
    parser.add_argument(
        "--port", type=_port, default=PORT, help="port of the server (default %(default)s)"
    )
    parser.add_argument(
        "--tls", action="store_true", help="speak TLS; --port is then the server's TLS port"
    )
    parser.add_argument(
        "--ca", metavar="FILE", help="trust the certificates in this PEM file; implies --tls"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=TIMEOUT_S,
        help="longest wait for a reply, in seconds (default %(default)g)",
    )
    parser.add_argument(
        "--language",
        choices=LANGUAGES,
        default=language,
        help="language of what this command says (default %(default)s)",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"must be seconds from 0.001 to 86400, not {text!r}")
    return seconds


def connect(
    options: argparse.Namespace, on_line: Callable[[str, bytes], object] | None = None
) -> Client:
    """
    Connect to the server that the options name.

    :param on_line: as :class:`evcharge.client.Client` has it.
    :raise NoReply: it cannot be.
    :raise Exit: the file of certificates cannot be read.
    """
    tls: bool | ssl.SSLContext = options.tls
    if options.ca is not None:
        try:
            tls = ssl.create_default_context(cafile=options.ca)
        except ssl.SSLError:
            raise Exit(f"--ca {options.ca}: has no certificates in PEM form", USAGE) from None
        except OSError as error:
            raise Exit(f"--ca {options.ca}: {error.strerror or error}", USAGE) from None
    return Client(options.host, options.port, tls, options.timeout, on_line)


def silent(options: argparse.Namespace, error: NoReply) -> Exit:
    """The end of a command whose server has not replied: why, and what to try next."""
    cause = error.__cause__
    where = f"[{options.host}]" if ":" in options.host else options.host
    values = {
        "where": f"{where}:{options.port}",
        "seconds": f"{options.timeout:g}",
        "why": getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or cause,
    }
    return Exit(_kind(options.host, cause).say(options.language, values), NO_REPLY)


def _kind(host: str, cause: BaseException | None) -> Phrase:
    if isinstance(cause, ConnectionRefusedError):
        return NOBODY_LISTENS if host in HERE else NOBODY_LISTENS_THERE
    for kind, phrase in (
        (socket.gaierror, UNKNOWN_HOST),
        (TimeoutError, TOO_SLOW),
        (ssl.SSLCertVerificationError, NOT_BELIEVED),
        (ssl.SSLError, NO_TLS),
        (ConnectionError, CLOSED),
        (ValueError, NOT_EVCHARGE),
    ):
        if isinstance(cause, kind):
            return phrase
    return OTHER


def same_server(options: argparse.Namespace) -> str:
    """What has another command talk to the same server: nothing, or options behind a space."""
    words: list[str] = []
    if options.host != LOCAL:
        words += ["--host", options.host]
    if options.port != PORT:
        words += ["--port", str(options.port)]
    if options.ca is not None:
        words += ["--ca", options.ca]
    elif options.tls:
        words.append("--tls")
    return "".join(f" {shlex.quote(word)}" for word in words)
