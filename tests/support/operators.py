"""Operators who ask a real server over HTTP."""

import http.client
import json
from pathlib import Path
from typing import Any

from tests.support.servers import HealthTestCase, Server
from tests.support.waiting import LIMIT_S

PATH = "/operator/evse"
OUT = {"uid": "7-2", "status": "OUTOFORDER", "reason": "cabo cortado"}
JSON = {"Content-Type": "application/json"}


class OperatorTestCase(HealthTestCase):
    """A real server with an HTTP port, where operators may ask."""

    def serve(self, *options: str, data: Path | None = None, **more: str) -> Server:
        self.token_file = Path(self.mktemp()).absolute()
        return self.serve_with_token(self.token_file, *options, data=data, **more)

    def serve_with_token(
        self, token_file: Path, *options: str, data: Path | None = None, **more: str
    ) -> Server:
        server = super().serve(
            "--operator-token-file", str(token_file), *options, data=data, **more
        )
        self.token = token_file.read_text().strip()
        return server

    def ask(
        self,
        method: str = "POST",
        path: str = PATH,
        body: bytes | str | dict[str, Any] | None = None,
        **head: str | None,
    ) -> tuple[int, http.client.HTTPMessage, dict[str, Any]]:
        """
        Ask as an operator: the code, the head and the envelope of the reply.

        :param head: further fields of it, or others; None: it is left out.
        """
        fields: dict[str, str | None] = {"Authorization": f"Bearer {self.token}"}
        if isinstance(body, dict):
            fields.update(JSON)
            body = json.dumps(body)
        fields.update({name.replace("_", "-"): value for name, value in head.items()})
        connection = http.client.HTTPConnection(self.http, timeout=LIMIT_S)
        try:
            given = {name: value for name, value in fields.items() if value is not None}
            connection.request(method, path, body, given)
            with connection.getresponse() as response:
                text = response.read()
                assert response.headers["Content-Length"] == str(len(text)) or method == "HEAD"
                return response.status, response.headers, json.loads(text) if text else {}
        finally:
            connection.close()

    def refused(self, code: int, reason: str, *args: Any, **head: Any) -> dict[str, Any]:
        """Ask, and be refused; the data of the reply."""
        status, headers, reply = self.ask(*args, **head)
        self.assertEqual(set(reply), {"type", "data", "status", "timestamp"})
        self.assertEqual(
            (status, reply["status"]["code"], reply["data"]["reason"]), (code, code, reason)
        )
        self.assertEqual(reply["status"]["message"], reply["data"]["message"])
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertNotIn(self.token, json.dumps(reply))
        return reply["data"]
