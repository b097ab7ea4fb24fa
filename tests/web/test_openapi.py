"""The OpenAPI document, held against the table it is made of and against what the server takes."""

import json
import re
from typing import Any

import attrs
from hypothesis import example, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.trial.unittest import SynchronousTestCase

import evcharge
from evcharge.handlers import MESSAGES
from evcharge.handlers.public import PUBLIC_MESSAGES
from evcharge.models.catalogue import Catalogue
from evcharge.outcomes import Refusal
from evcharge.rules.network import ChangeNetwork
from evcharge.storage import carry_out
from evcharge.testing import shipped_network
from evcharge.web.openapi import document, numerals
from evcharge.web.routes import ROUTES, path_of
from evcharge.wire.fields import Integer, Number
from tests.support.examples import examples, given
from tests.support.journey import server, station
from tests.support.messages import good_data
from tests.support.posting import PostServer, ask
from tests.support.streams import web_of

POSTED = [message for message in MESSAGES if message.TYPE != "SUBSCRIBE"]


class DocumentTests(SynchronousTestCase):
    """The document of the shipped network."""

    def setUp(self) -> None:
        self.document = json.loads(document(shipped_network().catalogue()))

    def valid(self, kind: str, data: object) -> bool:
        """Whether the document allows `data` in a request of a type."""
        schema = {"$ref": f"#/components/schemas/{kind}", **self.document}
        return Draft202012Validator(schema).is_valid(data)

    def test_specification(self) -> None:
        """It is OpenAPI 3.1, of this version, and small."""
        OpenAPIV31SpecValidator(self.document).validate()
        self.assertTrue(self.document["openapi"].startswith("3.1."))
        self.assertEqual(self.document["info"]["version"], evcharge.__version__)
        self.assertLess(len(json.dumps(self.document)), 64 * 1024)

    def test_paths(self) -> None:
        """It has the routes that there are, each once, and every message is among them."""
        told = [(path, method.upper()) for path, each in self.document["paths"].items()
                for method in each]  # fmt: skip
        self.assertEqual(told, [(route.path, route.method) for route in ROUTES])
        for message in MESSAGES:
            self.assertIn((path_of(message), "POST"), told)
        self.assertLessEqual(
            {message for message in PUBLIC_MESSAGES}, {route.message for route in ROUTES}
        )
        names = [each["operationId"] for path in self.document["paths"].values()
                 for each in path.values()]  # fmt: skip
        self.assertEqual(len(set(names)), len(names))

    def test_good(self) -> None:
        """What a message takes is allowed: every field, also without one that need not be there."""
        good = good_data("x")
        for message in POSTED:
            data = {**good[message.TYPE]}
            if "selected_car" in data:
                data["selected_car"] = "Tesla Model 3"
            if "list_stations" in data:
                del data["position"]
            self.assertTrue(self.valid(message.TYPE, data), data)
            for field in message.FIELDS:
                fewer = {name: value for name, value in data.items() if name != field.name}
                self.assertEqual(self.valid(message.TYPE, fewer), field.optional, field.name)

    def test_wrong(self) -> None:
        """Null is no field's, and no field takes more than one kind of value takes."""
        good = good_data("x")
        for message in POSTED:
            for field in message.FIELDS:
                for wrong in (None, {"a": []}, [{}], "\0", "x" * 201):
                    data = {**good[message.TYPE], field.name: wrong}
                    refused = isinstance(field.kind.read(field.name, wrong), Refusal)
                    if field.name == "selected_car":
                        refused = True
                    self.assertEqual(
                        self.valid(message.TYPE, data), not refused, (field.name, wrong)
                    )

    def test_examples(self) -> None:
        """Each example is allowed, and the server takes it."""
        to = PostServer()
        for route in ROUTES:
            operation = self.document["paths"][route.path][route.method.lower()]
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if route.method == "POST" and "example" in body:
                schema = {**body["schema"], "components": self.document["components"]}
                self.assertTrue(Draft202012Validator(schema).is_valid(body["example"]), route.path)
                sent = json.dumps(body["example"]).encode()
                code = ask(to.web, "POST", route.path, sent).code
                self.assertIn(code, (200, 404), route.path)
        path = self.document["paths"]["/api/v1/login"]["post"]["requestBody"]["content"]
        self.assertTrue(path["application/json"]["example"])

    def test_cars(self) -> None:
        """A car is one of those that there are; where there are none, it may be any text."""
        allowed = self.document["components"]["schemas"]["LOGIN"]["properties"]["selected_car"]
        self.assertEqual(allowed["enum"], list(shipped_network().catalogue().car_models))
        bare = json.loads(document(Catalogue()))
        OpenAPIV31SpecValidator(bare).validate()
        self.assertNotIn(
            "enum", bare["components"]["schemas"]["LOGIN"]["properties"]["selected_car"]
        )

    def test_parameters(self) -> None:
        """What is said of parameters has their limits, and the position as two of them."""
        paths = self.document["paths"]
        (position, limit) = paths["/api/v1/stations"]["get"]["parameters"]
        self.assertEqual((position["style"], position["explode"]), ("form", True))
        self.assertEqual(position["schema"]["required"], ["latitude", "longitude"])
        self.assertEqual((limit["schema"]["minimum"], limit["schema"]["maximum"]), (1, 1000))
        (hours,) = paths["/api/v1/figures"]["get"]["parameters"]
        self.assertEqual((hours["schema"]["minimum"], hours["schema"]["maximum"]), (1, 24))


KINDS = sorted(
    {
        field.kind
        for message in MESSAGES
        for each in message.FIELDS
        for field in (
            each,
            *getattr(getattr(each.kind, "kind", each.kind), "fields", ()),
            *filter(None, [each.instead]),
        )
        if isinstance(field.kind, (Number, Integer))
    },
    key=repr,
)
"""Every kind of number that is posted."""

TEXTS = (
    st.from_regex(r"-?[0-9]{1,4}(\.[0-9]{0,3})?", fullmatch=True)
    | st.integers(-200, 1100).map(str)
    | st.floats(-200, 200).map(lambda number: f"{number:.3f}")
    | st.text(max_size=4)
)


class NumeralTests(SynchronousTestCase):
    """Numbers that come as text."""

    @settings(max_examples=examples(200), deadline=None)
    @given(st.sampled_from(KINDS), TEXTS)
    @example(Number(0, 100, over=True), "0.0")
    @example(Number(0, 100, over=True), "0.01")
    @example(Number(0, over=True), "0.5")
    @example(Number(0, over=True), "0.0")
    @example(Number(0), "0")
    @example(Number(0, 100), "100.000")
    @example(Number(0, 100), "100.001")
    @example(Number(-90, 90), "-90.0")
    @example(Integer(1, 1000), "0")
    @example(Integer(1, 1000), "1000.0")
    @example(Integer(1, 50), "51")
    @example(Integer(50, 60000), "49.0")
    @example(Number(10, 200), "009.9")
    @example(Number(10, 200), "10")
    @example(Number(0.01, 1000), "0.009")
    @example(Number(0.01, 1000), "0.0")
    @example(Number(0.01, 1000), "0.010")
    @example(Number(0.01, 1000), "0")
    def test_same(self, kind: Any, text: str) -> None:
        """Those are allowed that the server takes, but for signs and exponents."""
        taken = not isinstance(kind.read("x", text), Refusal)
        allowed = re.fullmatch(numerals(kind), text) is not None
        plain = re.fullmatch(r"-?[0-9]+(\.[0-9]*)?", text) is not None
        self.assertEqual(allowed, taken and plain and not (kind.least >= 0 and text[0] == "-"))


class ServedTests(SynchronousTestCase):
    """The document, as it is served."""

    def test_same(self) -> None:
        """It is made once, and anew where there are other cars."""
        to = server(station(1))
        web = web_of(to)
        answer = ask(web, "GET", "/api/v1/openapi.json")
        self.assertEqual(json.loads(answer.body), json.loads(document(to.storage.catalogue())))
        self.assertEqual(answer.headers["content-type"], "application/json")
        cars = {"Small": to.storage.catalogue().car_models["Small"]}
        carry_out(to.storage, ChangeNetwork(lambda there: attrs.evolve(there, car_models=cars)))
        again = ask(web, "GET", "/api/v1/openapi.json", if_none_match=answer.headers["etag"])
        told = json.loads(again.body)["components"]["schemas"]["LOGIN"]["properties"]
        self.assertEqual(told["selected_car"]["enum"], ["Small"])
