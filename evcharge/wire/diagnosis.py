"""
Why a line is no message: where it goes wrong, and the likely cause. Pure.

Only those come here whose line cannot be read. What a cause looks like is a pattern, and the
patterns are tried in order at the place where the parser gave up.
"""

from __future__ import annotations

import re

from evcharge.outcomes import Phrase
from evcharge.utils.texts import beginning

NOT_JSON = Phrase(
    "isto não é JSON; uma mensagem é um objeto: começa com { e termina com }",
    "this is not JSON; a message is an object: it begins with { and ends with }",
)
HTTP = Phrase(
    "isto parece HTTP, não JSON; nesta porta cada linha é uma mensagem em JSON",
    "this looks like HTTP, not JSON; on this port each line is a message in JSON",
)
MARKUP = Phrase("isto parece HTML ou XML, não é JSON", "this looks like HTML or XML, not JSON")
FORM = Phrase(
    "isto parece um formulário (a=b&c=d), não é JSON",
    "this looks like a form (a=b&c=d), not JSON",
)
BINARY = Phrase("isto são dados binários, não é JSON", "this is binary data, not JSON")
COMPRESSED = Phrase(
    "isto são dados comprimidos (gzip), não é JSON", "this is compressed data (gzip), not JSON"
)
TLS = Phrase(
    "isto é TLS, e esta porta não tem criptografia", "this is TLS, and this port is not encrypted"
)
UTF_16 = Phrase(
    "isto parece UTF-16 ou UTF-32; envie em UTF-8", "this looks like UTF-16 or UTF-32; send UTF-8"
)
BOM = Phrase(
    "marca de ordem de bytes (BOM, U+FEFF), que só pode vir antes da primeira linha da conexão",
    "a byte order mark (BOM, U+FEFF), which may come before a connection's first line only",
)
SEVERAL_LINES = Phrase(
    "isto parece parte de uma mensagem escrita em várias linhas; cada mensagem deve estar em uma "
    "só linha",
    "this looks like a part of a message that is written over several lines; each message must be "
    "on one line",
)
CUT_OFF = Phrase(
    "a linha termina antes do fim da mensagem: foi cortada, ou está escrita em várias linhas",
    "the line ends before the message does: it was cut off, or is written over several lines",
)
UNENDED_TEXT = Phrase(
    'o texto que começa aqui não termina: falta um ", ou a linha foi cortada',
    'the text that begins here does not end: a " is missing, or the line was cut off',
)
TYPOGRAPHIC = Phrase(
    'aspas tipográficas (“ ” ‘ ’); em JSON as aspas são retas: "',
    'typographic quotes (“ ” ‘ ’); in JSON quotes are straight: "',
)
SINGLE_QUOTES = Phrase(
    "aspas simples ('); em JSON as aspas são duplas: \"",
    "single quotes ('); in JSON quotes are double: \"",
)
ESCAPED_QUOTES = Phrase(
    'barra invertida (\\) fora de um texto; as aspas não levam barra: {"type": …}',
    'a backslash (\\) outside of text; quotes have none before them: {"type": …}',
)
SPELT_OUT = Phrase(
    "uma quebra de linha escrita por extenso; a mensagem termina com uma de verdade, e antes dela "
    "só um \\n é ignorado",
    "a line end that is spelt out; a message ends with a real one, and only one \\n before that is "
    "passed over",
)
TRAILING_COMMA = Phrase("vírgula a mais antes de } ou ]", "a comma too many, before } or ]")
DECIMAL_COMMA = Phrase(
    "vírgula decimal; em JSON os números levam ponto: 4.5",
    "a decimal comma; in JSON numbers have a point: 4.5",
)
NUMBER = Phrase(
    "um número mal escrito; em JSON são assim: 5, 0.5, -1.5e3",
    "a number that is written wrongly; in JSON they look like this: 5, 0.5, -1.5e3",
)
LITERAL = Phrase(
    "em JSON escreve-se true, false e null, em minúsculas",
    "in JSON it is true, false and null, in lower case",
)
NOT_FINITE = Phrase(
    "NaN, Infinity e undefined não existem em JSON",
    "there is no NaN, Infinity or undefined in JSON",
)
COMMENT = Phrase("em JSON não há comentários", "there are no comments in JSON")
NO_QUOTES = Phrase(
    'um nome ou texto sem aspas; em JSON: "nome"', 'a name or text without quotes; in JSON: "name"'
)
CONTROL = Phrase(
    "um caractere de controle dentro de um texto; escreva \\n, \\t ou \\u0000",
    "a control character within text; write \\n, \\t or \\u0000",
)
ESCAPE = Phrase(
    "uma barra invertida (\\) que não inicia um escape de JSON; escreva \\\\",
    "a backslash (\\) that begins no escape of JSON; write \\\\",
)
NO_COMMA = Phrase(
    'falta uma vírgula, ou há um " dentro de um texto (escreva \\")',
    'a comma is missing, or there is a " within text (write \\")',
)
NO_COLON = Phrase("falta : depois do nome", "a : is missing after the name")
TWO_MESSAGES = Phrase(
    "duas mensagens em uma linha; cada uma termina com uma quebra de linha",
    "two messages on one line; each ends with a line feed",
)
TOO_MUCH = Phrase(
    "algo sobra depois do fim da mensagem", "something is left behind the end of the message"
)
UNSEEN = Phrase(
    "um caractere que não se vê ({code}); entre os valores só pode haver espaços comuns",
    "a character that is not seen ({code}); only plain spaces can stand between values",
)
UNEXPECTED = Phrase(
    "{letter} ({code}) não pode estar aqui em JSON", "{letter} ({code}) cannot stand here in JSON"
)
TOO_DEEP = Phrase("a mensagem está aninhada fundo demais", "the message is nested too deep")
SURROGATE = Phrase(
    "metade de um par substituto (U+D800 a U+DFFF), que não é texto Unicode",
    "half of a surrogate pair (U+D800 to U+DFFF), which is not Unicode text",
)
LATIN_1 = Phrase(
    "isto não é UTF-8; em Latin-1 (ISO-8859-1, Windows-1252) seria {letter}: envie em UTF-8",
    "this is not UTF-8; in Latin-1 (ISO-8859-1, Windows-1252) it would be {letter}: send UTF-8",
)
TOO_LARGE = Phrase(
    "{field} tem um número grande demais para ser finito",
    "{field} has a number that is too large to be finite",
)
NO_OBJECT = Phrase(
    "isto é JSON, mas {kind}; uma mensagem é um objeto",
    "this is JSON, but {kind}; a message is an object",
)
ENCODED_TWICE = Phrase(
    "isto é um texto que contém JSON: a mensagem foi codificada duas vezes",
    "this is text that holds JSON: the message was encoded twice",
)

KINDS: dict[type, Phrase] = {
    list: Phrase("uma lista", "a list"),
    str: Phrase("um texto", "text"),
    bool: Phrase("um booleano", "a boolean"),
    int: Phrase("um número", "a number"),
    float: Phrase("um número", "a number"),
    type(None): Phrase("null", "null"),
}

LONGEST_NAME = 60
"""How much of a name that a client made up is repeated, characters."""

Causes = tuple[tuple[re.Pattern[str], Phrase], ...]


def _causes(*causes: tuple[str, Phrase]) -> Causes:
    return tuple((re.compile(pattern), cause) for pattern, cause in causes)


_NO_JSON_AT_ALL = _causes(
    ("\ufeff", BOM),
    ("\x16\x03", TLS),
    (".?\0", UTF_16),
    (r"HTTP/\d|[A-Za-z]{1,20} \S{1,2000} HTTP/\d", HTTP),
    (
        r"(?i:host|user-agent|accept[a-z-]*|content-[a-z-]+|connection|origin|referer|cookie|dnt"
        r"|sec-[a-z-]+|cache-control|pragma|upgrade[a-z-]*|te|transfer-encoding|x-[a-z-]+): ",
        HTTP,
    ),
    ("[\x01-\x1f]", BINARY),
    ("<", MARKUP),
    (r"[}\],]", SEVERAL_LINES),
    (r"%7[Bb]|[\w.-]{1,60}=", FORM),
)
"""What a line may be that is none from its first character on."""

_ANYWHERE = _causes(
    ("[“”„‟‘’‚‛«»‹›′″`´＂]", TYPOGRAPHIC),
    ("'", SINGLE_QUOTES),
    (r"(?:\\[rn])+\s*\Z", SPELT_OUT),
    (r"\\", ESCAPED_QUOTES),
    ("\0", UTF_16),
    (r",\s*[}\]]", TRAILING_COMMA),
    (r"(?<=\d,)\d", DECIMAL_COMMA),
    (r"(?i:true|false|null|none)\b", LITERAL),
    (r"[+-]?(?:NaN|Infinity|inf|nan)\b|undefined\b", NOT_FINITE),
    (r"//|/\*|\#", COMMENT),
    (r"[+.]|(?<=\d)[\d.eExX_]|-", NUMBER),
)
"""What the character where the parser gave up may mean."""


def _at(text: str, place: int, cause: Phrase, **values: object) -> Phrase:
    """`cause`, and where: as people count, from 1."""
    column, byte = place + 1, len(text[:place].encode()) + 1
    return Phrase(
        f"coluna {column}, byte {byte} da linha: {cause.say('pt', values)}",
        f"column {column}, byte {byte} of the line: {cause.say('en', values)}",
    )


def not_utf8(line: bytes, place: int) -> Phrase:
    """
    Why a line is no UTF-8.

    :param place: how many bytes of it are.
    """
    before = line[:place].decode()
    if line.startswith(b"\x16\x03"):
        return _at("", 0, TLS)
    if line.startswith(b"\x1f\x8b"):
        return _at("", 0, COMPRESSED)
    if line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line:
        return _at("", 0, UTF_16)
    if re.search(rb"[\x01-\x08\x0e-\x1f]", line):
        return _at("", 0, BINARY)
    if re.match(rb"\xed[\xa0-\xbf]", line[place:]):
        cause = SURROGATE
    elif len(line) - place < 4 and re.fullmatch(rb"[\xc2-\xf4][\x80-\xbf]*", line[place:]):
        # The first bytes of a character, and then the end.
        cause = CUT_OFF
    else:
        letter = line[place : place + 1].decode("cp1252", "replace")
        return _at(before, len(before), LATIN_1, letter=letter)
    return _at(before, len(before), cause)


def not_json(text: str, place: int, said: str) -> Phrase:
    """
    Why a line is no JSON.

    :param place: how many characters of it had been read.
    :param said: what the standard library's parser calls it.
    """
    if said.startswith("Unterminated string"):
        return _suspect_quotes(text, len(text), _at(text, place, UNENDED_TEXT))
    if said.startswith("Invalid control"):
        return _at(text, place, CONTROL)
    if said.startswith("Invalid \\"):
        return _at(text, place, ESCAPE)
    end = len(text.rstrip())
    if place >= end:
        cause = SEVERAL_LINES if text[end - 1 : end] in tuple("{[,:") else CUT_OFF
        return _at(text, end, cause)
    before = text[:place].rstrip()
    at_start = not before
    # What the parser looks for comes behind white space.
    place = len(text) - len(text[place:].lstrip(" \t\r"))
    if before.endswith(",") and text[place] in "}]":
        return _at(text, place, TRAILING_COMMA)
    for pattern, cause in (*(_NO_JSON_AT_ALL if at_start else ()), *_ANYWHERE):
        if pattern.match(text, place):
            return _at(text, place, cause)
    letter = text[place]
    code = f"U+{ord(letter):04X}"
    if letter.isspace() or not letter.isprintable():
        return _at(text, place, UNSEEN, code=code)
    if at_start:
        return _at(text, place, NOT_JSON)
    if said.startswith("Extra data"):
        return _at(text, place, _left_over(text, letter))
    if said.startswith("Expecting ':'"):
        return _suspect_quotes(text, place, _at(text, place, NO_COLON))
    if said.startswith("Expecting ','"):
        return _suspect_quotes(text, place, _at(text, place, NO_COMMA))
    if letter.isalpha():
        return _at(text, place, NO_QUOTES)
    return _at(text, place, UNEXPECTED, letter=letter, code=code)


def _left_over(text: str, letter: str) -> Phrase:
    """Why there is something behind a value, which `letter` is the first of."""
    begins = text.lstrip()[:1]
    if letter in ":," and begins == '"':
        return SEVERAL_LINES
    if letter in "{[":
        return TWO_MESSAGES
    return TOO_MUCH if begins in ("{", "[") else NOT_JSON


def _suspect_quotes(text: str, place: int, otherwise: Phrase) -> Phrase:
    """Text that was to end with a typographic quote goes on to the next straight one."""
    quotes = [text.rfind(quote, 0, place) for quote in "“”„‟"]
    return _at(text, max(quotes), TYPOGRAPHIC) if max(quotes) >= 0 else otherwise


_ESCAPE = re.compile(r"\\.", re.S)
_TEXT_OR_NOT_FINITE = re.compile('"[^"]*"|(-?(?:NaN|Infinity))')


def not_finite(text: str) -> Phrase:
    """Why a line is no JSON that has NaN or an infinity for a value, and only JSON before it."""
    for token in _TEXT_OR_NOT_FINITE.finditer(_ESCAPE.sub("..", text)):
        if token[1]:
            return _at(text, token.start(), NOT_FINITE)
    return NOT_FINITE


_SURROGATE = re.compile(
    r"(?P<pair>\\u[dD][89abAB]..\\u[dD][c-fC-F]..)|\\u[dD][89a-fA-F]",
)


def not_unicode(text: str) -> Phrase | None:
    """
    Why JSON is no Unicode text: it has an escape that is half of a surrogate pair.

    :return: None where it has none.
    """
    read = 0
    while found := _SURROGATE.search(text, read):
        before = text[read : found.start()]
        if (len(before) - len(before.rstrip("\\"))) % 2:
            # The backslash is itself escaped.
            read = found.start() + 1
        elif found["pair"]:
            read = found.end()
        else:
            return _at(text, found.start(), SURROGATE)
    return None


def too_large(field: str) -> Phrase:
    """Why a request is refused that has a number for `field` which is too large to be finite."""
    values = {"field": beginning(field, LONGEST_NAME)}
    return Phrase(TOO_LARGE.say("pt", values), TOO_LARGE.say("en", values))


def no_object(value: object) -> Phrase:
    """Why a line is no message that is the JSON `value`, and no object."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return _at("", 0, ENCODED_TWICE)
    return _at("", 0, NO_OBJECT, kind=KINDS[type(value)])
