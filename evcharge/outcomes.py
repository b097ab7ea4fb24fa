"""What a client may be told: the code, the reason and the text of every outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

LANGUAGES = ("pt", "en")
NOTHING: Mapping[str, object] = {}


@attrs.frozen
class Phrase:
    """A text for a person, in each language; `{names}` in it are filled in when it is said."""

    pt: str
    en: str

    def say(self, language: str, values: Mapping[str, object] = NOTHING) -> str:
        """The text in `language` ("pt" or "en"), with `values` filled in."""
        text = self.pt if language == "pt" else self.en
        if not values:
            return text
        return text.format_map(
            {k: v.say(language, {}) if isinstance(v, Phrase) else v for k, v in values.items()}
        )


@attrs.frozen
class Outcome:
    """How a request can end: `code` and `reason` are for programs and never change."""

    code: int
    reason: str | None
    phrase: Phrase


SUCCESS = Outcome(200, None, Phrase("Sucesso", "Success"))
NO_STATION = Outcome(200, "no_station", Phrase("Nenhum posto disponível", "No station available"))
NO_SLOT = Outcome(200, "no_slot", Phrase("Sem vagas disponíveis", "No slots available"))
NO_PLAN = Outcome(200, "no_plan", Phrase("Nenhum plano possível", "No plan is possible"))
UNAUTHORIZED = Outcome(
    401, "unauthorized", Phrase("Token ausente ou incorreto", "The token is missing or wrong")
)
FORBIDDEN = Outcome(
    403, "forbidden", Phrase("Só a partir desta máquina", "Only from this machine itself")
)
FORBIDDEN_ORIGIN = Outcome(
    403,
    "forbidden_origin",
    Phrase("Página de outro servidor (--web-origin)", "A page of another server (--web-origin)"),
)
UNKNOWN_PATH = Outcome(404, "unknown_path", Phrase("Caminho desconhecido", "Unknown path"))
METHOD_NOT_ALLOWED = Outcome(
    405, "method_not_allowed", Phrase("Aqui só {methods}", "Here only {methods}")
)
UNSUPPORTED_MEDIA_TYPE = Outcome(
    415,
    "unsupported_media_type",
    Phrase("O corpo deve ser application/json", "The body must be application/json"),
)
UNKNOWN_HOST = Outcome(
    421,
    "unknown_host",
    Phrase(
        "O servidor não atende por esse nome (--web-host)",
        "The server does not go by this name (--web-host)",
    ),
)
INVALID_HTTP = Outcome(
    400, "invalid_http", Phrase("Requisição HTTP inválida", "Invalid HTTP request")
)
UNCLEAR_HOST = Outcome(
    400,
    "invalid_http",
    Phrase(
        "Requisição HTTP sem Host, ou com mais de um",
        "An HTTP request without Host, or with more than one",
    ),
)
NOT_ENCRYPTED = Outcome(
    400,
    "not_encrypted",
    Phrase(
        "Esta porta fala HTTPS: o endereço começa com https://",
        "This port speaks HTTPS: the address begins with https://",
    ),
)
SLOW_REQUEST = Outcome(
    408, "slow_request", Phrase("A requisição demorou demais", "The request took too long")
)
LARGE_HEAD = Outcome(
    431, "large_head", Phrase("Cabeçalho muito grande", "The head of the request is too large")
)
UPGRADE_REQUIRED = Outcome(
    426, "upgrade_required", Phrase("Aqui só WebSocket", "Here only WebSocket")
)
INVALID_HANDSHAKE = Outcome(
    400,
    "invalid_handshake",
    Phrase("Requisição de WebSocket inválida", "The request for WebSocket is invalid"),
)
INVALID_JSON = Outcome(400, "invalid_json", Phrase("JSON inválido", "Invalid JSON"))
MISSING_FIELDS = Outcome(
    400,
    "missing_fields",
    Phrase("Campos obrigatórios ausentes ({fields})", "Required fields are missing ({fields})"),
)
INVALID_FIELD = Outcome(
    400,
    "invalid_field",
    Phrase(
        "Campo inválido: {field} deve ser {must_be}", "Invalid field: {field} must be {must_be}"
    ),
)
UNKNOWN_TYPE = Outcome(404, "unknown_type", Phrase("Ação desconhecida", "Unknown action"))
USER_NOT_FOUND = Outcome(404, "user_not_found", Phrase("Usuário não encontrado", "User not found"))
STATION_NOT_FOUND = Outcome(
    404, "station_not_found", Phrase("Posto não encontrado", "Station not found")
)
ALREADY_RESERVED = Outcome(
    409,
    "already_reserved",
    Phrase(
        "Usuário já tem reserva no posto {station}",
        "The user already has a reservation at station {station}",
    ),
)
NO_CONNECTOR = Outcome(
    409,
    "no_compatible_connector",
    Phrase(
        "Nenhum conector do posto {station} serve no carro",
        "No connector of station {station} fits the car",
    ),
)
WRONG_STATE = Outcome(
    409,
    "wrong_state",
    Phrase("Isso não cabe no estado {state}", "That does not go with the state {state}"),
)
WAITING_LIST_FULL = Outcome(
    409,
    "waiting_list_full",
    Phrase("A fila do posto {station} está cheia", "The queue of station {station} is full"),
)
EVSE_NOT_FOUND = Outcome(
    404,
    "evse_not_found",
    Phrase("Vaga não encontrada no posto {station}", "No such EVSE at station {station}"),
)
UNKNOWN_EVSE = Outcome(
    404, "evse_not_found", Phrase("Vaga {evse} não encontrada", "No EVSE {evse}")
)
RECEIPT_NOT_FOUND = Outcome(
    404, "receipt_not_found", Phrase("Recibo não encontrado", "Receipt not found")
)
TARIFF_NOT_FOUND = Outcome(
    404, "tariff_not_found", Phrase("Tarifa {tariff} não encontrada", "No tariff {tariff}")
)
NEEDS_CONNECTION = Outcome(
    404,
    "needs_connection",
    Phrase(
        "{type} precisa de uma conexão que fica aberta: WebSocket em /api/v1/socket, ou "
        "GET /api/v1/live",
        "{type} needs a connection that stays open: WebSocket at /api/v1/socket, or "
        "GET /api/v1/live",
    ),
)
TOO_MANY_STATIONS = Outcome(
    400,
    "too_many_stations",
    Phrase(
        "São mais de {most} postos: limite-os por stations ou area",
        "These are more than {most} stations: limit them by stations or area",
    ),
)
TOO_MANY_IN_REACH = Outcome(
    400,
    "too_many_stations",
    Phrase(
        "São mais de {most} postos ao alcance da viagem: peça uma parte dela (places)",
        "More than {most} stations are within reach of the trip: ask for a part of it (places)",
    ),
)
TOO_MANY_SUBSCRIBERS = Outcome(
    503, "too_many_subscribers", Phrase("Assinantes demais", "Too many subscribers")
)
TOO_LARGE = Outcome(413, "too_large", Phrase("Mensagem muito grande", "Message too large"))
RATE_LIMITED = Outcome(429, "rate_limited", Phrase("Muitas requisições", "Too many requests"))
INTERNAL = Outcome(500, "internal", Phrase("Erro interno", "Internal error"))
UNAVAILABLE = Outcome(503, "unavailable", Phrase("Serviço indisponível", "Service unavailable"))


@attrs.define
class Reply:
    """What a request is answered with."""

    data: Any
    """A dict, or the JSON of one, written already: :func:`evcharge.wire.envelope.encode_part`."""
    outcome: Outcome = SUCCESS
    say: Callable[[str], str] | None = None
    """What makes the data's `message`, if there is one: it is given the language."""

    type: str = ""
    """The request's, as `id` is; the controller fills them in, and the text of the outcome."""
    message: str = ""
    id: str | int | None = None
    subscription: Any = None
    """What the client is told from now on, if it asked to be: see :mod:`evcharge.push.hub`."""


@attrs.frozen
class Refusal:
    """What a request, or an operation of the storage, ends in instead of its result."""

    outcome: Outcome
    figures: Mapping[str, object] = NOTHING
    """What fills in the text of the outcome: `Refusal(ALREADY_RESERVED, {"station": 7})`."""
    more: Mapping[str, object] = NOTHING
    """Further fields of the reply's data; a :class:`Phrase` is said in the reply's language."""


def unreadable(why: Phrase) -> Refusal:
    """The refusal of a line that is no JSON object; `why` says where, and the likely cause."""
    return Refusal(INVALID_JSON, more={"detail": why})


def missing(*fields: str) -> Refusal:
    """The refusal of a request that lacks `fields`."""
    return Refusal(MISSING_FIELDS, {"fields": ", ".join(fields)})


def invalid(field: str, must_be: Phrase) -> Refusal:
    """The refusal of a request whose `field` is not what it `must_be`."""
    return Refusal(INVALID_FIELD, {"field": field, "must_be": must_be})
