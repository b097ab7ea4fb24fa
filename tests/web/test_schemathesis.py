"""A real server does what its OpenAPI document says, whatever schemathesis makes of that."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.support.examples import examples
from tests.support.servers import ServerTestCase
from tests.support.waiting import LIMIT_S

RUN = "from schemathesis.cli import schemathesis; schemathesis()"


class SchemathesisTests(ServerTestCase):
    """Schemathesis, with all of its checks, against a real process."""

    def test_document(self) -> None:
        """Nothing that the document allows is refused, nothing else taken, and no reply is odd."""
        server = self.start(Path(self.mktemp()).absolute(), "--web-port", "0").wait()
        (port,) = re.findall(r"HTTP on 127\.0\.0\.1:([0-9]+)", "".join(server.log))
        document = f"http://127.0.0.1:{port}/api/v1/openapi.json"
        with urllib.request.urlopen(document, timeout=LIMIT_S) as answer:
            paths = len(json.load(answer)["paths"])
        folder = Path(self.mktemp())
        folder.mkdir()
        options = [
            f"--max-examples={examples(8)}",
            "--generation-deterministic",
            f"--request-timeout={LIMIT_S}",
            "--no-color",
        ]
        ran = subprocess.run(
            [sys.executable, "-c", RUN, "run", document, *options],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=20 * LIMIT_S,
        )
        self.assertEqual(ran.returncode, 0, ran.stdout[-8000:] + ran.stderr[-2000:])
        # Of all but the document's own path.
        self.assertIn(f"Tested: {paths - 1}", ran.stdout)
