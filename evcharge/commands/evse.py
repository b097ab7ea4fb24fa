"""`evcharge evse`: takes an EVSE out of service and back, or shows it."""

from __future__ import annotations

import argparse
import http.client
import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from evcharge.client import TIMEOUT_S
from evcharge.commands import NO_REPLY, USAGE, Exit
from evcharge.commands.storages import add_storage, location, must_exist, say, told
from evcharge.commands.tables import clean
from evcharge.handlers import Context
from evcharge.handlers.operator import SetEvse, ShowEvse
from evcharge.models.evse import STATUSES
from evcharge.outcomes import Refusal
from evcharge.storage import carry_out
from evcharge.utils.permissions import remedy_to_read
from evcharge.utils.warnings import warnings_shown

PATH = "/operator/evse"

LONGEST_REPLY = 1024 * 1024
"""What is read of a reply, bytes."""


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    evse = commands.add_parser(
        "evse",
        help="take an EVSE out of service, and back",
        example="evcharge evse 7-2 --status OUTOFORDER",
        description=(
            "Takes an EVSE out of service, or back into it; without --status it shows the EVSE. "
            "A driver who charges there is billed and leaves. A driver who has reserved it gets "
            "another one, or becomes the first in the queue. With --storage, stop the server "
            "first, unless the storage is PostgreSQL. With --http it asks a running server that "
            "has --http-port and --operator-token-file. Exit status: 0 when it is done, 1 when it "
            "is refused, 2 for wrong usage, 3 when no server replies."
        ),
    )
    evse.add_argument(
        "uid", metavar="UID", help="id of the EVSE: 7-2 is the second one of station 7"
    )
    evse.add_argument(
        "--status",
        type=str.upper,
        choices=STATUSES,
        help=f"its status from now on: {', '.join(STATUSES)}",
        metavar="STATUS",
    )
    evse.add_argument("--reason", metavar="TEXT", help="why, shown to those who ask about the EVSE")
    where = evse.add_mutually_exclusive_group()
    add_storage(where)
    where.add_argument(
        "--http", metavar="URL", help="a running server's --http-port: http://127.0.0.1:9100"
    )
    evse.add_argument(
        "--token-file", metavar="FILE", help="with --http: the server's --operator-token-file"
    )
    evse.set_defaults(run=told(_evse))


def _evse(options: argparse.Namespace) -> None:
    if options.reason is not None and options.status is None:
        raise Exit("--reason says why there is another --status, which is not given", USAGE)
    if (options.http is None) != (options.token_file is None):
        raise Exit("--http and --token-file go together", USAGE)
    asked: dict[str, str] = {"uid": options.uid}
    if options.status is not None:
        asked["status"] = options.status
        asked["reason"] = options.reason or ""
    try:
        json.dumps(asked, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Exit("what is to be said of an EVSE must be UTF-8", USAGE) from None
    data = _in_storage(options, asked) if options.http is None else _over_http(options, asked)
    print(clean(_shown(data)))


def _shown(data: Mapping[str, Any]) -> str:
    """An EVSE as it is, for a person."""
    since = f" since {data['since']}" if data["since"] else ""
    reason = f" ({data['reason']})" if data["reason"] else ""
    return (
        f"{data['uid']} at station {data['id_station']} {data['name_station']}: "
        f"{data['status']}{since}{reason}; {data['available_slots']} of {data['max_slots']} "
        f"slots free, {data['queue_length']} waiting"
    )


def _in_storage(options: argparse.Namespace, asked: Mapping[str, str]) -> Mapping[str, Any]:
    place = location("--storage", options.storage)
    must_exist(place)
    storage = place.storage()
    with warnings_shown(say):
        storage.open(time.time())
    try:
        context = Context(partial(carry_out, storage), storage.catalogue, time.time)
        answer: Any = (SetEvse if options.status is not None else ShowEvse)(context).answer(asked)
    finally:
        storage.close()
    if isinstance(answer, Refusal):
        why = answer.outcome.phrase.say("en", answer.figures)
        raise Exit(f"{place.name}: {why}; nothing was changed")
    found: Mapping[str, Any] = answer.data
    return found


def _over_http(options: argparse.Namespace, asked: Mapping[str, str]) -> Mapping[str, Any]:
    url, host, port = options.http, *_address(options.http)
    head = {"Authorization": f"Bearer {_token(options.token_file)}"}
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        if options.status is None:
            connection.request("GET", f"{PATH}/{quote(options.uid, safe='')}", headers=head)
        else:
            body = json.dumps(asked).encode()
            head["Content-Type"] = "application/json"
            connection.request("POST", PATH, body, head)
        with connection.getresponse() as response:
            code, text = response.status, response.read(LONGEST_REPLY)
    except ConnectionRefusedError:
        why = "nobody answers: is the server running, with --http-port?"
        raise Exit(f"{url}: {why}", NO_REPLY) from None
    except TimeoutError:
        why = f"no reply within {TIMEOUT_S:g} s: it is not known whether it was done"
        raise Exit(f"{url}: {why}", NO_REPLY) from None
    except UnicodeError:
        # No name has a part of more than 63 characters, or an empty one.
        raise Exit(f"{url}: no such name", NO_REPLY) from None
    except (OSError, http.client.HTTPException) as error:
        raise Exit(f"{url}: {str(error) or type(error).__name__}", NO_REPLY) from None
    finally:
        connection.close()
    if code == 401:
        why = f"the token in {options.token_file} is refused: is that its --operator-token-file?"
        raise Exit(f"{url}: {why}")
    try:
        reply = json.loads(text)
        data, status = reply["data"], reply["status"]
        if code == status["code"] == 200:
            _shown(data)
            found: Mapping[str, Any] = data
            return found
        why = clean(str(status["message"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        if code == 404:
            why = "operators may not ask there: start the server with --operator-token-file"
            raise Exit(f"{url}: {why}") from None
        why = "what answers there is no evcharge server with an --operator-token-file"
        raise Exit(f"{url}: {why}", NO_REPLY) from None
    raise Exit(f"{url}: {code} {why}")


def _address(url: str) -> tuple[str, int]:
    """Host and port of the server that `--http` names. Exit: it names none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or parts.scheme != "http" or parts.path not in ("", "/") or "@" in url:
        raise Exit(f"--http must be as http://127.0.0.1:9100, not {url!r}", USAGE)
    return host, 80 if port is None else port


def _token(name: str) -> str:
    """The token in a file. Exit: there is none."""
    try:
        with open(name, "rb") as file:
            token = file.read(LONGEST_REPLY).strip()
    except OSError as error:
        cure = remedy_to_read(error, Path(name))
        raise Exit(f"--token-file {name}: {error.strerror or error}{cure}", USAGE) from None
    if not token or not all(0x20 < byte < 0x7F for byte in token):
        raise Exit(f"--token-file {name}: has no token in it", USAGE)
    return token.decode()
