"""A line and its reply: one rule for all lines, and what is said of those that cannot be read."""

import json
import tracemalloc

from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.storage.memory import MemoryStorage
from evcharge.testing import MemoryServer
from evcharge.wire.envelope import decode
from tests.support.examples import examples, given
from tests.support.journey import CARS, LONG, login, outcome, server, station
from tests.support.messages import TYPES, good_data

POISON = {
    "half a pair": r'"\ud800"',
    "the other half": r'"a\udfffb"',
    "in the wrong order": r'"\udc00\ud800"',
    "half before a pair": r'"\ud83d\ud83d\ude00"',
    "behind a backslash": r'"\\\ud800"',
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "too large": "1e999",
    "far too small": "-1e999",
    "digits": "9" * 309,
    "long": LONG,
    "negative and long": "-" + "7" * 6000,
}
"""Values that make a line no message, wherever they stand."""

UNREADABLE = {name for name, value in POISON.items() if not value.strip("-")[0].isdigit()}
"""Those that are no JSON, or no text."""


def line(kind: str, data: dict[str, str], /, **more: str) -> bytes:
    """A request of which the values are JSON that has been written already."""
    fields = ",".join(f"{json.dumps(name)}:{value}" for name, value in data.items())
    envelope = {"type": f'"{kind}"', "data": f"{{{fields}}}", "status": "{}", "timestamp": '""'}
    envelope.update(more)
    return ("{" + ",".join(f'"{name}":{value}' for name, value in envelope.items()) + "}").encode()


def messages(user_id: str) -> dict[str, dict[str, str]]:
    """The data of each message, all optional fields included, as :func:`line` takes it."""
    return {
        kind: {name: json.dumps(value) for name, value in data.items()}
        for kind, data in good_data(user_id).items()
    }


class RequestTests(SynchronousTestCase):
    """What of a request may be how."""

    def setUp(self) -> None:
        self.server = server(station(1))

    def one(self, sent: bytes) -> dict:
        (reply,) = self.server.send(sent + b"\n")
        return reply

    def test_status_and_timestamp(self) -> None:
        """Status and timestamp may be any JSON value: it is enough that they are there."""
        for value in ("{}", "[]", "null", "0", "1.5", "true", '""', '"a\\u0000"', '[{"a":[1]}]'):
            for field in ("status", "timestamp"):
                reply = self.one(line("START", {}, **{field: value}))
                self.assertEqual(outcome(reply), (200, None), (field, value))

    def test_no_data(self) -> None:
        """Null and an empty array are the empty object of other languages."""
        for value in ("null", "[]", "{}", "[ ]"):
            for more in ({}, {"more": "1"}):
                self.assertEqual(outcome(self.one(line("START", {}, data=value, **more)))[0], 200)
                reply = self.one(line("PAYMENT", {}, data=value, **more))
                self.assertEqual(outcome(reply), (400, "missing_fields"))
                self.assertIn("user_id, id_station, confirmation", reply["data"]["message"])

    def test_more_fields(self) -> None:
        """Fields that nobody knows are passed over."""
        reply = self.one(line("START", {"x": '[{"y":null}]'}, more='{"a":[1.5]}', id='"a"'))
        self.assertEqual((*outcome(reply), reply["id"]), (200, None, "a"))

    def test_ids(self) -> None:
        """An id comes back as it was: each kind, and each bound, but nothing beyond it."""
        for value in (0, "", 1, -1, 2**53, -(2**53), "0", "x" * 128, "é\u2028😀", "a\x00"):
            for more in ({}, {"more": "1"}):
                for sent in (line("START", {}, id=json.dumps(value), **more), None):
                    reply = self.one(sent or line("FLY", {}, id=json.dumps(value), **more))
                    self.assertEqual(reply.get("id"), value)
        for value in (str(2**53 + 1), str(-(2**53) - 1), "1e3", "1.0", LONG, "1e999", '""' + "x"):
            reply = self.one(line("START", {}, id=value))
            self.assertEqual(reply["status"]["code"], 400)
            if value != '""x':
                self.assertIn("id deve ser", reply["data"]["message"])
                self.assertEqual(reply["data"]["reason"], "invalid_field")
            self.assertNotIn("id", reply)

    def test_typed_line_end(self) -> None:
        """A line end that is typed is passed over behind the brace alone."""
        self.assertEqual(self.one(line("START", {}) + b"\\n")["status"]["code"], 200)
        for sent in (b'"{}"\\n', b"5\\n", b"{}\\n\\n", b'{"type":"START\\n'):
            self.assertEqual(outcome(self.one(sent)), (400, "invalid_json"), sent)

    def test_unknown_type(self) -> None:
        """One who asks for what there is not is told what there is."""
        data = self.one(line("FLY", {}))["data"]
        self.assertEqual(data["reason"], "unknown_type")
        self.assertEqual(data["types"], TYPES)
        self.assertEqual(data["message"], "Ação desconhecida")


class PoisonTests(SynchronousTestCase):
    """Text that is no Unicode, and numbers that are not finite, wherever they stand."""

    def setUp(self) -> None:
        self.connect(server(station(1)))

    def connect(self, to: MemoryServer) -> None:
        self.server = to
        self.user = login(to)
        self.protocol, self.transport = to.connect()

    def send(self, *lines: bytes) -> list[dict]:
        """The replies to lines of one connection."""
        self.protocol.dataReceived(b"".join(each + b"\n" for each in lines))
        self.server.advance(0)
        return [json.loads(reply) for reply in self.transport.take().splitlines()]

    def assertRefused(self, sent: bytes, *reasons: str) -> dict:
        """The line gets its 400, and the one behind it its 200."""
        replies = self.send(sent, line("START", {}))
        self.assertEqual([each["status"]["code"] for each in replies], [400, 200], sent[:200])
        self.assertIn(replies[0]["data"]["reason"], reasons, sent[:200])
        return replies[0]

    def test_reported(self) -> None:
        """The line of the report, which was never answered, nor was any line behind it."""
        for confirmation in ("true", "false"):
            reply = self.assertRefused(
                f'{{"type":"PAYMENT","data":{{"x":{LONG},"user_id":"\\ud800","id_station":1,'
                f'"confirmation":{confirmation}}},"status":{{}},"timestamp":""}}'.encode(),
                "invalid_json",
            )
            self.assertEqual(reply["type"], "error")

    def test_every_field(self) -> None:
        """Each poison in each field of each message, with a long integer beside it and without."""
        for kind, good in messages(self.user).items():
            for field in [*good, "x"]:
                for name, value in POISON.items():
                    for beside in ({}, {"y": LONG}):
                        reasons = ["invalid_json"]
                        if name not in UNREADABLE and not beside and field != "x":
                            # Whoever reads the field says what it must be.
                            reasons = ["invalid_field"]
                        if kind == "SELECTION_STATION" and field == "position":
                            # It is not looked at where there is `list_stations`.
                            good.pop("list_stations", None)
                        reply = self.assertRefused(
                            line(kind, {**good, field: value, **beside}), *reasons
                        )
                        if reasons == ["invalid_field"]:
                            self.assertIn(f"{field} deve ser", reply["data"]["message"])

    def test_envelope(self) -> None:
        """Each poison in each field of the envelope, and as a name."""
        for name, value in POISON.items():
            reasons = ("invalid_json", "invalid_field")[: 1 if name in UNREADABLE else 2]
            for field in ("type", "data", "status", "timestamp", "id", "x"):
                self.assertRefused(line("START", {}, **{field: value}), *reasons)
                self.assertRefused(line("START", {}, **{field: f'[{{"a":{value}}}]'}), *reasons)
            if value[0] == '"':
                sent = line("START", {}, data=f"{{{value}:1}}")
                self.assertRefused(sent, "invalid_json")
                self.assertRefused(sent.replace(b'"data"', f"{value}:{LONG},".encode() + b'"data"'),
                    "invalid_json")  # fmt: skip

    def test_named_twice(self) -> None:
        """Text that is no Unicode is refused in a value that is not the last of its name, too."""
        for place in ('"user_name"', r'"\ud800"'):
            sent = line("LOGIN", messages("")["LOGIN"])
            poisoned = sent.replace(b'"user_name"', rf'{place}:"\ud800","user_name"'.encode())
            self.assertRefused(poisoned, "invalid_json")
            behind = poisoned.replace(b'"data":{', f'"data":{{"y":{LONG},'.encode())
            self.assertRefused(behind, "invalid_json")

    def test_pairs(self) -> None:
        """Whole pairs are text, and so is what only looks like half of one, however it is read."""
        for written, good in (
            (r"\ud83d\ude00", True),
            (r"\uD83D\uDE00\ud83d\ude00", True),
            (r"\\ud800", True),
            (r"\\\\udfff", True),
            (r"\\\ud83d\ude00", True),
            (r"\ue000\ud7ff", True),
            (r"\\\ud800", False),
            (r"\\ud83d\ude00", False),
            (r"\ud83d\\ude00", False),
            (r"\ud83d\ude00\ude00", False),
            (r"\ud83dx\ude00", False),
        ):
            for more in ({}, {"y": "0"}, {"y": f'"{"0" * 400}"'}):
                for sent in (
                    line("START", {"x": f'"{written}"', **more}),
                    line("START", {}, data=f'{{"{written}":0}}', **more),
                ):
                    (reply,) = self.send(sent)
                    expected = (200, None) if good else (400, "invalid_json")
                    self.assertEqual(outcome(reply), expected, (written, more))

    def test_nested(self) -> None:
        """A poison that is nested where nobody looks is found there, and the place named."""
        for kind, field, value in (
            ("START", "position", '{"latitude":1,"longitude":2,"altitude":[0,%s]}'),
            ("SELECTION_STATION", "list_stations", '{"1":{"distance_origin_position":1,"x":%s}}'),
            ("LOGIN", "x", '[[{"y":%s}]]'),
        ):
            for name, poison in POISON.items():
                data = {**messages(self.user)[kind], field: value % poison}
                reply = self.assertRefused(line(kind, data), "invalid_json")
                if name not in UNREADABLE:
                    self.assertEqual(reply["type"], kind)
                    self.assertIn(f"data.{field}.", reply["data"]["detail"])
                else:
                    self.assertEqual(reply["type"], "error")

    def test_too_large_beside_missing(self) -> None:
        """A number that is too large hides nothing else that is wrong."""
        for sent in (
            b'{"type":"LOGIN","data":{"battery_car":1e999},"timestamp":"","id":7}',
            b'{"type":"LOGIN","data":{"battery_car":1e999},"status":{},"timestamp":"","id":7}',
            f'{{"type":"LOGIN","data":{{"battery_car":{LONG}}},"status":{{}},"id":7}}'.encode(),
        ):
            self.assertEqual(self.assertRefused(sent, "missing_fields")["id"], 7)

    def test_distances(self) -> None:
        """A distance that is too large is none, and passed over like others that are none."""
        for value in ("1e999", LONG, "9" * 400):
            listed = '{"1":{"distance_origin_position":1},"2":{"distance_origin_position":%s}}'
            data = {"user_id": json.dumps(self.user), "list_stations": listed % value}
            (reply,) = self.send(line("SELECTION_STATION", data))
            self.assertEqual((reply["data"]["id_station"], reply["data"]["ignored"]), ("1", 1))

    def test_nested_too_deep(self) -> None:
        """Data that is nested too deep is refused, with a long integer beside it and without."""
        # What a later Python's parser bears takes a longer line than there may be by default.
        self.connect(server(station(1), max_line=2**20))
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            for middle in ("1", LONG, '"a"'):
                deep = opening * 100_000 + middle + closing * 100_000
                for sent in (
                    line("START", {"x": deep}),
                    line("START", {"x": deep, "y": LONG}),
                    line("START", {"y": LONG, "x": deep}),
                    line("START", {}, status=deep),
                    line("START", {}, data=deep),
                    line("START", {}, more=deep),
                    deep.encode(),
                ):
                    reply = self.assertRefused(sent, "invalid_json")
                    self.assertIn("fundo demais", reply["data"]["detail"])

    def test_nested_wide(self) -> None:
        """Looking for large numbers takes memory for a line, and not for each way into it."""
        depth = 800
        for nested in ("[", '{"a":'):
            closed = {"[": "]", '{"a":': "}"}[nested] * depth
            width = (65_000 - len(nested) * depth - len(closed) - 400) // 3
            value = nested * depth + "[" + "[]," * width + f'"{LONG[:310]}"]' + closed
            sent = line("START", {"x": value})
            self.assertLess(len(sent), 65_536)
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            self.assertIsNone(decode(sent).refusal)
            self.assertLess(tracemalloc.get_traced_memory()[1], 20 * 1024 * 1024)
            tracemalloc.stop()

    def test_nested_deep(self) -> None:
        """Data that is nested, but not too deep, is passed over where nobody knows it."""
        deep = '{"a":[' * 100 + "1" + "]}" * 100
        self.assertEqual(
            [200], [r["status"]["code"] for r in self.send(line("START", {"x": deep}))]
        )
        self.assertRefused(line("START", {"x": deep.replace("1", LONG)}), "invalid_json")

    @settings(max_examples=examples(100), deadline=None)
    @given(st.data())
    def test_any(self, draw: st.DataObject) -> None:
        """
        Whatever stands wherever in whichever message: there is one reply, and the same whichever
        way the line is read.
        """
        kind = draw.draw(st.sampled_from(["FLY", *messages("")]))
        good = messages(self.user).get(kind, {})
        values = st.sampled_from([*POISON.values(), "1", "null", '"é"', r'"\ud83d\ude00"', "0.5"])
        nested = st.recursive(
            values,
            lambda inner: st.one_of(
                st.lists(inner, max_size=3).map(lambda found: f"[{','.join(found)}]"),
                st.tuples(st.sampled_from(['"a"', r'"\ud800"', '"latitude"']), inner).map(
                    lambda found: f"{{{found[0]}:{found[1]}}}"
                ),
            ),
            max_leaves=5,
        )
        data = dict(good)
        for field in draw.draw(st.lists(st.sampled_from([*good, "x", "y"]), max_size=3)):
            data[field] = draw.draw(nested)
        for field in draw.draw(st.lists(st.sampled_from([*data, "x"]), max_size=1)):
            data.pop(field, None)
        around = draw.draw(
            st.dictionaries(st.sampled_from(["status", "timestamp", "id", "type"]), nested)
        )
        replies = []
        # As it is; so that the strict decoder leaves it to the lenient one; and to the last one.
        for more in ({}, {"more": "0"}, {"more": f'"{"0" * 400}"'}):
            # Each time to a server of its own: to many a message there is another reply next time.
            self.connect(server(station(1)))
            before = list(self.server.storage.users())
            (reply,) = self.send(line(kind, data, **around, **more))
            code = reply["status"]["code"]
            self.assertIn(code, (200, 400, 404, 409))
            replies.append((code, reply["type"], reply.get("id"), reply["data"]))
            if code != 200:
                self.assertEqual(list(self.server.storage.users()), before)
            whole = line(kind, data, **around, **more).decode()
            if "\\ud800" in whole or "NaN" in whole or "Infinity" in whole:
                self.assertEqual(outcome(reply), (400, "invalid_json"))
        self.assertEqual(replies[1:], replies[:1] * 2)


class TextOfNumbersTests(SynchronousTestCase):
    """A number where a name is wanted is its text."""

    def test_user_name(self) -> None:
        """A name that is a number is kept as its text, up to the longest that there may be."""
        for sent, kept in (
            ("5", "5"), ("-7", "-7"), ("0", "0"), ("1.5", "1.5"), ("1e2", "100.0"),
            ("9" * 100, "9" * 100), ('"5"', "5"),
        ):  # fmt: skip
            to = server()
            data = {**messages("")["LOGIN"], "user_name": sent}
            (reply,) = to.send(line("LOGIN", data) + b"\n")
            self.assertEqual(outcome(reply), (200, None), sent)
            self.assertEqual([user.user_name for user in to.storage.users()], [kept])

    def test_car(self) -> None:
        """So is the car's."""
        to = MemoryServer(MemoryStorage({"500": CARS["Small"], "2.5": CARS["Small"]}))
        for selected in (500, "500", 2.5):
            login(to, car=selected)
        for selected in (501, 500.5, True, None):
            reply = to.request("LOGIN", user_name="Ana", selected_car=selected, battery_car=4)
            self.assertEqual(outcome(reply), (400, "invalid_field"))
            self.assertIn("selected_car", reply["data"]["message"])


class DetailTests(SynchronousTestCase):
    """What is said of a line that cannot be read."""

    def detail(self, sent: str | bytes, language: str = "en") -> str:
        refusal = decode(sent.encode() if isinstance(sent, str) else sent).refusal
        assert refusal is not None, sent
        self.assertEqual(refusal.outcome.reason, "invalid_json")
        return refusal.more["detail"].say(language)

    def test_place(self) -> None:
        """The place is told in characters and bytes, both counted from 1."""
        self.assertIn("column 10, byte 11 of the line: ", self.detail('{"é": 1, x}'))
        self.assertIn("coluna 10, byte 11 da linha: ", self.detail('{"é": 1, x}', "pt"))
        self.assertIn("column 3, byte 3 ", self.detail("  x"))
        self.assertIn("column 8, byte 9 ", self.detail('{"é":"J'.encode() + b'\xe3o"}'))

    def test_causes(self) -> None:
        """The likely cause is told."""
        for cause, lines in CAUSES.items():
            for sent in lines:
                self.assertIn(cause, self.detail(sent), sent)

    def test_reply(self) -> None:
        """A client is told in its language, beside the message, which stays."""
        for language, message, detail in (
            ("pt", "JSON inválido", "coluna 2, byte 2 da linha: aspas tipográficas"),
            ("en", "Invalid JSON", "column 2, byte 2 of the line: typographic quotes"),
        ):
            (reply,) = MemoryServer(language=language).send("{“type”: “START”}\n".encode())
            self.assertEqual(list(reply["data"]), ["message", "reason", "detail"])
            self.assertEqual(reply["data"]["message"], message)
            self.assertIn(detail, reply["data"]["detail"])

    def test_pretty_printed(self) -> None:
        """Of a message that is written over several lines each line is told so."""
        message = {"type": "LOGIN", "data": {"a": [1, "b"]}, "status": {}, "timestamp": ""}
        for indent in (1, 4, "\t"):
            sent = json.dumps(message, indent=indent)
            replies = MemoryServer().send(sent.encode() + b"\n")
            self.assertEqual(len(replies), len(sent.splitlines()))
            for part, reply in zip(sent.splitlines(), replies, strict=True):
                if part.strip().rstrip(",").strip('"') not in ("1", "b"):
                    self.assertIn("várias linhas", reply["data"]["detail"], part)

    @settings(max_examples=examples(125), deadline=None)
    @given(
        st.one_of(
            st.binary(max_size=40),
            st.text(max_size=40).map(str.encode),
            st.text(st.sampled_from("{}[]:,\"'\\ue0dN aIn.1-+“\u00a0/"), max_size=25).map(
                str.encode
            ),
        )
    )
    def test_any(self, sent: bytes) -> None:
        """Of every line that is no JSON something is said, and never at length."""
        try:
            found = json.loads(sent)
        except ValueError:
            found = None
        refusal = decode(sent).refusal
        assert refusal is not None
        if not isinstance(found, dict):
            for language in ("pt", "en"):
                self.assertTrue(5 < len(self.detail(sent, language)) < 200)


CAUSES: dict[str, list[str | bytes]] = {
    "not JSON; a message is an object": ["hello", "START", "12:30 noon", "login Ana", '"a" "b"'],
    "looks like HTTP": ["GET / HTTP/1.1", "Host: 127.0.0.1:8888", "content-type: text/plain",
                        "HTTP/1.1 200 OK"],
    "HTML or XML": ["<html>", '<?xml version="1.0"?>'],
    "looks like a form": ["type=LOGIN&user_name=Ana", "%7B%22type%22%3A"],
    "binary data": [b"\x01\x02\x03", b"\x80\x01\x02"],
    "compressed": [b"\x1f\x8b\x08\x00"],
    "this is TLS": [b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\x02\xff\x01"],
    "UTF-16": ["\ufeff{".encode("utf-16-le"), '{"type"'.encode("utf-16-le"),
               '{"type"'.encode("utf-16-be"), "{".encode("utf-32-le"), '{"é"'.encode("utf-16"),
               "\ufeff漢".encode("utf-16-le"), b'{"a":\x00\xff}'],
    "byte order mark": ['\ufeff{"type":"START"}'],
    "written over several lines": ["{", "}", "},", "  ],", '"data": {', '  "type": "LOGIN",',
                                   '{"type": "START",', '{"type": "START"', '"type": "START"'],
    "was cut off": ['{"type": "START"', '{"type": "START", "data": {}', b'{"a":"\xc3'],
    "does not end": ['{"type": "STA', '{"type": "START", "timestamp": "'],
    "typographic quotes": ["{“type”: 1}", '{"type”: "START"}', '{"type": "START”, "data": 1}',
                           '{"type": “START”}', "{‘type’: 1}", "{«type»: 1}", "“"],
    "single quotes": ["{'type': 'START'}", '{"type": \'START\'}', "'{}'"],
    "a backslash (\\) outside": [r'{\"type\": \"START\"}', r"\{"],
    "spelt out": [r"{}\r\n", r"{}\n\n", r"{}\r", r"{} \r\n ", r"\r\n"],
    "a comma too many": ['{"a": 1,}', '{"a": [1,2,], "b": 1}', '{"a": 1 , }', "[1,]"],
    "a decimal comma": ['{"battery_car": 4,5}', '{"a": 12,75, "b": 1}'],
    "written wrongly": ['{"a": 01}', '{"a": 1.}', '{"a": .5}', '{"a": +1}', '{"a": -}',
                        '{"a": 0x1f}', '{"a": 1e5x}'],
    "lower case": ['{"a": True}', '{"a": None}', '{"a": FALSE}', "None"],
    "no NaN, Infinity or undefined": ['{"a": NaN}', '{"a": "NaN", "b": [-Infinity]}', "NaN",
                                      '{"a": undefined}', '{"a": nan}', '{"\\"": Infinity}'],
    "no comments": ['{"a": 1} // x', '{"a": 1, /* x */ "b": 2}', "# x", "// x"],
    "without quotes": ['{type: "START"}', '{"a": hello}', '{"a": 1, b: 2}'],
    "control character": ['{"a": "\t"}', '{"a": "\x00"}'],
    "begins no escape": [r'{"a": "\x41"}', r'{"a": "C:\dir"}', r'{"a": "\u12"}', r'{"a": "\'"}'],
    "a comma is missing": ['{"a": 1 "b": 2}', '{"a": "x"y"}', '{"a": 1; "b": 2}'],
    "a : is missing": ['{"a" 1}', '{"a"}', '{"a", 1}'],
    "two messages": ["{}{}", "{} {}", "{}[]"],
    "is left behind": ["{} x", "{}}", "[1]]"],
    "a character that is not seen (U+00A0)": ['{\u00a0"a": 1}', '{"a": 1\u00a0}', '\u00a0{}'],
    "cannot stand here": ['{"a": 1,, "b": 2}', '{,"a": 1}', '{"a": }', '{"a": @}'],
    "surrogate pair": [r'{"a": "\ud800"}', r'{"\uDFFF": 1}', b'{"a": "\xed\xa0\x80"}'],
    "in Latin-1 (ISO-8859-1, Windows-1252) it would be ã": [b'{"user_name": "Jo\xe3o"}'],
    "in Latin-1 (ISO-8859-1, Windows-1252) it would be ç": [b'{"a": "\xe7\xf5es"}'],
    # It would be a character beyond the last one.
    "in Latin-1 (ISO-8859-1, Windows-1252) it would be ô": [b'{"a":"\xf4\x90\x80\x80'],
    "but a list": ["[]", "[1, 2]", '[{"type": "START"}]'],
    "but text": ['"START"'],
    "but a number": ["5", "-1.5"],
    "but a boolean": ["true"],
    "but null": ["null"],
    "encoded twice": [json.dumps(json.dumps({"type": "START"}))],
    "x has a number that is too large": ['{"type": "START", "x": 1e999}'],
}  # fmt: skip
