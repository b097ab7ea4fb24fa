"""
Tables as people and their spreadsheets write them: CSV of any encoding, separator and line end, and
numbers with units, decimal commas and points for thousands.

What a column means is not known here; where each cell stands is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import islice

import attrs

from evcharge.utils.numbers import finite_number

SEPARATORS = ";,\t|"
"""In the order in which they are tried."""

_WORKBOOKS = (b"PK\3\4", b"\xd0\xcf\x11\xe0")
"""What Excel's own files begin with, those of today and those before 2007."""

_END = re.compile(r"\r\n|\r|\n")
_SEP_LINE = re.compile(r'"?sep=([^\r\n])"?[ \t;,]*(?=\r|\n|\Z)', re.IGNORECASE)
_BYTE = re.compile("[\udc80-\udcff]")
"""A byte that is not text, as `surrogateescape` has it."""


class TableError(Exception):
    """Content that is no table: says why."""


@attrs.define
class Row:
    """A row, which may take several lines."""

    line: int
    """Where it begins, as an editor counts lines."""
    cells: list[str]
    text: str = attrs.field(repr=False)
    """All of it, as it stands in the file."""
    starts: list[int] | None = None
    """Where each cell begins in `text`; None where no cell is quoted."""
    fault: tuple[int, str] | None = None
    """Where in `text` its quotes are wrong, and how. Its one cell is then the whole line."""

    def place(self, number: int) -> tuple[int, int]:
        """Line and character of the start of a cell, as an editor counts them."""
        if self.starts is None:
            # Each cell is followed by one separator.
            start = sum(len(cell) + 1 for cell in islice(self.cells, number))
        else:
            start = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.at(min(start, len(self.text)))

    def at(self, position: int) -> tuple[int, int]:
        """Line and character of a position in `text`."""
        line, character = _place(self.text, position)
        return self.line + line - 1, character

    @property
    def last_line(self) -> int:
        """Where it ends."""
        return self.line + len(_END.findall(self.text))


@attrs.frozen
class Table:
    """A header and the rows below it; none of them is blank."""

    separator: str
    header: Row
    rows: list[Row]
    doubts: list[str]
    """What there is to say about how it was read."""


def read_table(content: bytes, is_known: Callable[[str], bool]) -> Table:
    """
    Read a table.

    :param content: text in UTF-16 with its mark, in UTF-8, or in Windows-1252. Bytes that are no
        text in an encoding that the rest is written in stay as the surrogates that
        `surrogateescape` makes of them.
    :param is_known: whether a name may stand in the header: the separator is the one that makes
        most such names of it, unless a first line such as `sep=;` says which it is.
    :raise TableError: it is no table.
    """
    if content.startswith(_WORKBOOKS):
        raise TableError("is an Excel workbook: save it as CSV")
    _, text, doubts, separator, position, line = max(
        (
            candidate
            for text, doubts in _decoded(content)
            for candidate in _cut(text, doubts, is_known)
        ),
        key=lambda candidate: candidate[0],
    )
    rows = _rows(text, separator, position, line)
    header = next(rows, None)
    if header is None:
        raise TableError("is empty")
    if header.fault is not None:
        where, what = header.fault
        number, character = header.at(where)
        raise TableError(f"line {number}: {what}, at character {character}")
    return Table(separator, header, list(rows), doubts)


def _cut(
    text: str, doubts: list[str], is_known: Callable[[str], bool]
) -> Iterator[tuple[int, str, list[str], str, int, int]]:
    """
    The ways to cut a text: how many known names its header then has, the text and its doubts, the
    separator, and where, and in which line, the header begins.
    """
    position, line = 0, 1
    said = _SEP_LINE.match(text)
    if said is not None:
        end = _END.match(text, said.end())
        position, line = (end.end() if end else len(text)), 2
    for separator in SEPARATORS if said is None else said[1]:
        header = next(_rows(text, separator, position, line), None)
        names = 0 if header is None else sum(map(is_known, header.cells))
        yield names, text, doubts, separator, position, line


def _decoded(content: bytes) -> list[tuple[str, list[str]]]:
    """What the text may be, most likely first, and what there is to say about its encoding."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return [(content.decode("utf-16"), [])]
        except UnicodeDecodeError as error:
            raise TableError(f"is not UTF-16, as its mark says: byte {error.start}") from None
    text = content.decode("utf-8-sig", "surrogateescape")
    wrong = len(_BYTE.findall(text))
    if not wrong or content.startswith(b"\xef\xbb\xbf"):
        return [(text, [])]
    line, character = _place(text, next(_BYTE.finditer(text)).start())
    doubt = f"is not UTF-8 (line {line}, character {character}); read as Windows-1252"
    candidates = [(text, []), (content.decode("cp1252", "surrogateescape"), [doubt])]
    # Text in another encoding hardly ever has letters that are good UTF-8: this tells a file of
    # UTF-8 with a damaged byte, whose other rows can be read, from one that is not UTF-8 at all.
    right = len(text) - len(text.encode("ascii", "ignore")) - wrong
    return candidates if right >= wrong else candidates[::-1]


def _place(text: str, position: int) -> tuple[int, int]:
    """Line and character of a position, each from 1."""
    ends = [end.end() for end in _END.finditer(text, 0, position)]
    return len(ends) + 1, position - (ends[-1] if ends else 0) + 1


def has_wrong_bytes(text: str) -> bool:
    """Whether there are bytes in `text` that are no text."""
    return not text.isascii() and _BYTE.search(text) is not None


def _rows(text: str, separator: str, position: int, line: int) -> Iterator[Row]:
    """The rows from a position on that are not blank."""
    blank = SEPARATORS + separator + " \xa0"
    cell_end = rf"(?={re.escape(separator)}|\r|\n|\Z)"
    space = "[ \t]*" if separator != "\t" else " *"
    quoted = re.compile(rf'({space})"([^"]*(?:""[^"]*)*)"{space}{cell_end}')
    plain = re.compile(rf"[^{re.escape(separator)}\r\n]*")
    length = len(text)
    while position < length:
        end = _END.search(text, position)
        stop, after = (length, length) if end is None else end.span()
        if text.find('"', position, stop) < 0:
            content = text[position:stop]
            if content.strip(blank):
                yield Row(line, content.split(separator), content)
            position, line = after, line + 1
            continue
        row = _quoted_row(text, separator, position, line, quoted, plain)
        if isinstance(row, int):
            # Its quotes make no sense: all that they could swallow are the rows of others.
            content = text[position:stop]
            fault = row, "the quotes that open here do not close at the end of a cell"
            row = Row(line, [content], content, [0], fault)
        if any(cell.strip(blank) for cell in row.cells):
            yield row
        position += len(row.text)
        line = row.last_line
        end = _END.match(text, position)
        if end is not None:
            position, line = end.end(), line + 1


def _quoted_row(
    text: str,
    separator: str,
    position: int,
    line: int,
    quoted: re.Pattern[str],
    plain: re.Pattern[str],
) -> Row | int:
    """The row at a position, whose cells may be quoted; or where in it the quotes make no sense."""
    begin = position
    cells: list[str] = []
    starts: list[int] = []
    while True:
        match = quoted.match(text, position)
        if match is not None:
            cells.append(match[2].replace('""', '"'))
            starts.append(match.end(1) - begin)
        else:
            match = plain.match(text, position)
            if match is None or match[0].startswith('"'):
                return position - begin
            cells.append(match[0])
            starts.append(position - begin)
        position = match.end()
        if not text.startswith(separator, position):
            return Row(line, cells, text[begin:position], starts)
        position += 1


def folded(name: str) -> str:
    """What of a column's name counts: not case, accents, spaces, signs, or what is in (…)."""
    letters = unicodedata.normalize("NFKD", re.sub(r"\([^)]*\)", "", name)).casefold()
    return "".join(character for character in letters if character.isalnum())


# Numbers

_UNITS = re.compile(r"R\$|kW(?:/?h)?|/", re.IGNORECASE)
_MINUS = str.maketrans("−–", "--", "\u200b\u2060\ufeff")
_PARTS = re.compile(
    # Spaces may stand between groups of three digits; words begin with no digit.
    r"([+-]?) ?([0-9]{1,3}(?: [0-9]{3})+(?:[.,][0-9]*)?(?![0-9.,])|[0-9.,]+(?:[eE][+-]?[0-9]+)?)"
    r"(?: ([^0-9+.,-].*))?\Z",
    re.DOTALL,
)
_GROUPED = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}\Z")


class NotANumber(Exception):
    """Text that is no number."""

    def __init__(self, why: str = "", otherwise: str | None = None) -> None:
        super().__init__(why)
        self.why = why
        """More than that it is none; may be empty."""
        self.otherwise = otherwise
        """The number that may have been meant."""


@attrs.frozen
class Number:
    """A number as it was written."""

    plain: str
    """The number as programs write it: `-12.2664`."""
    words: str = ""
    """What stands behind it, apart from units."""
    otherwise: str | None = None
    """The number that may have been meant, where there is more than one way to read it."""


def read_number(text: str, points_group: bool) -> Number:
    """
    Read a number that a person has written.

    :param points_group: whether the point in `1.950` stands between thousands: there are decimal
        commas around it.
    :raise NotANumber: it is none.
    """
    if finite_number(text) is not None and not (points_group and "." in text):
        return Number(text.strip())
    parts = _PARTS.match(" ".join(_UNITS.sub(" ", text.translate(_MINUS)).split()))
    if parts is None or len(text) > 200:
        raise NotANumber
    sign, digits, words = parts[1], parts[2].replace(" ", ""), parts[3] or ""
    first = re.search("[.,]", digits)
    otherwise = None
    if first is not None:
        whole, rest = digits[: first.start()], digits[first.end() :]
        otherwise = f"{sign}{whole}.{re.sub('[.,]', '', rest)}"
    commas, points = digits.count(","), digits.count(".")
    if commas and points:
        last = max(digits.rfind(","), digits.rfind("."))
        if digits.count(digits[last]) > 1:
            raise NotANumber(otherwise=otherwise)
        digits = re.sub("[.,]", "", digits[:last]) + "." + digits[last + 1 :]
    elif commas > 1 or points > 1:
        sign_taken = "comma" if commas else "point"
        raise NotANumber(f"the spreadsheet took the {sign_taken} for thousands", otherwise)
    elif commas:
        digits, otherwise = digits.replace(",", "."), None
    elif points_group and _GROUPED.match(digits):
        digits = digits.replace(".", "")
    else:
        otherwise = None
    plain = sign + digits
    if finite_number(plain) is None:
        raise NotANumber
    return Number(plain, words, otherwise)


def has_decimal_comma(text: str) -> bool:
    """Whether a cell of numbers has a comma that stands before the decimals."""
    return text.count(",") == 1 and text.rfind(",") > text.rfind(".")
