"""Kinds of connector: the names that people and other programs give them, and their current."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

import attrs

LONGEST_NAME = 80
"""No longer name is looked at."""


@attrs.frozen
class ConnectorKind:
    """A kind of connector."""

    name: str | None
    """What it is called; None for one of many of which the current is all that matters here."""
    is_dc: bool
    """Whether it carries direct current; else it is alternating."""


TYPE_1 = ConnectorKind("Type 1", is_dc=False)
TYPE_2 = ConnectorKind("Type 2", is_dc=False)
CCS1 = ConnectorKind("CCS1", is_dc=True)
CCS2 = ConnectorKind("CCS2", is_dc=True)
CHADEMO = ConnectorKind("CHAdeMO", is_dc=True)
TESLA = ConnectorKind("Tesla", is_dc=True)
TESLA_AC = ConnectorKind("Tesla", is_dc=False)
GBT_AC = ConnectorKind("GB/T AC", is_dc=False)
GBT_DC = ConnectorKind("GB/T DC", is_dc=True)
NBR_14136 = ConnectorKind("NBR 14136", is_dc=False)
SCHUKO = ConnectorKind("Schuko", is_dc=False)
OTHER_AC = ConnectorKind(None, is_dc=False)
OTHER_DC = ConnectorKind(None, is_dc=True)


def _words(meanings: Mapping[str, str]) -> dict[str, str]:
    return {word: meaning for meaning, words in meanings.items() for word in words.split()}


# Names are cut into these words of letters and digits; each has a meaning or, under "", none.
_WORDS = _words(
    {
        "1": "type1 tipo1 t1 iec62196t1 iec621962t1 j1772 j17722009 yazaki",
        "2": "type2 tipo2 t2 iec62196t2 iec621962t2 mennekes",
        "ccs": "ccs combo combinedchargingsystem",
        "ccs1": "ccs1 combo1",
        "ccs2": "ccs2 combo2",
        "chademo": "chademo",
        "tesla": "tesla teslas teslar nacs j3400 supercharger",
        "gbt": "gbt",
        "gbt ac": "gbt202342",
        "gbt dc": "gbt202343",
        "nbr": "nbr nbr14136 abnt14136 domesticn typen tipon",
        "schuko": "schuko cee74 cee77 domesticf typef tipof",
        # A socket of a house, or of a wall, whose standard is not said: it is the country's.
        "socket": (
            "tomada domestic domestica domestico household residencial outlet wallsocket walloutlet"
        ),
        "other_ac": (
            "type3 type3a type3c tipo3 tipo3a tipo3c iec62196t3 iec62196t3a iec62196t3c scame "
            "cee cee75 cee716 iec60309 iec603092 bluecommando bs1363 as3112 asnz3123 europlug "
            "avcon typei typej typem typeg typeb inductive lpinductive spinductive wireless xlr "
            "nema515 nema515r nema520 nema520r nema615 nema620 nema630 nema650 nema1030 nema1050 "
            "nema1430 nema1450 nematt30 nematt30r industrial iec603092single16 iec603092three16 "
            "iec603092three32 iec603092three64 domesticb domesticc domesticd domestice domesticg "
            "domestich domestici domesticj domestick domesticl domesticm"
        ),
        "other_dc": "chaoji pantograph mcs megawattchargingsystem",
        "ac": "ac ca correntealternada alternatingcurrent",
        "dc": "dc cc correntecontinua directcurrent",
        "": (
            "socket only tethered connector conector cable cabo plug plugue ficha female femea "
            "male macho com sem de do da e with without fixo preso integrado acoplado attached "
            "fixed iec62196 iec621962 iec621963 sae vde abnt eu us europeu americano europa "
            "padrao standard std comum common normal brasileira brasileiro brazilian simples "
            "charging charger carregador rapido rapida fast lento lenta slow "
            "mode2 mode3 mode4 modo2 modo3 modo4 "
            "2pt 2pe 3pin 4pin 5pin 7pin 2pin 3pinos 2pinos pinos pin monofasico monofasica "
            "bifasico trifasico trifasica singlephase threephase lowpower schneiderlegrand "
            "modelsx models roadster t13 sec1011 swiss jevsg105 g105 v2 13amp 3x s x"
        ),
    }
)
_LONGEST_WORD = max(map(len, _WORDS))

_KINDS: dict[frozenset[str], ConnectorKind] = {
    frozenset({"1"}): TYPE_1,
    frozenset({"2"}): TYPE_2,
    **{frozenset({"ccs", *more}): CCS1 for more in (["1"], ["ccs1"], ["1", "ccs1"])},
    **{frozenset({"ccs1", *more}): CCS1 for more in ([], ["1"])},
    # Without a number it is the one of Brazil and Europe.
    **{frozenset({"ccs", *more}): CCS2 for more in ([], ["2"], ["ccs2"], ["2", "ccs2"])},
    **{frozenset({"ccs2", *more}): CCS2 for more in ([], ["2"])},
    frozenset({"chademo"}): CHADEMO,
    frozenset({"chademo", "other_dc"}): OTHER_DC,
    # What most cars find under this name is a Supercharger.
    frozenset({"tesla"}): TESLA,
    frozenset({"nbr"}): NBR_14136,
    frozenset({"schuko"}): SCHUKO,
    frozenset({"schuko", "other_ac"}): SCHUKO,
    frozenset({"other_ac"}): OTHER_AC,
    frozenset({"other_dc"}): OTHER_DC,
}

_COUNT = re.compile(r"\A\s*[0-9]+\s*[x×]\s*|\s*\([0-9]+\)\s*\Z")
_FIGURE = re.compile(r"[0-9]+(?:[.,][0-9]+)?\s*kw\b|[0-9]{2,3}\s*[av]\b")
_PART = re.compile(r"[,;|\n]")
_PERHAPS_PART = re.compile(r"\s*[+/&]\s*|\s+(?:e|and|ou|or)\s+")


@lru_cache(10_000)
def connector_kind(name: str) -> ConnectorKind | None:
    """The kind that a name means, in whichever way it is written; None where it is not known."""
    if len(name) > LONGEST_NAME:
        return None
    letters = unicodedata.normalize("NFKD", _COUNT.sub(" ", name)).casefold()
    plain = "".join(character for character in letters if not unicodedata.combining(character))
    meanings = _meanings("".join(filter(str.isalnum, _FIGURE.sub(" ", plain))))
    if not meanings:
        return None
    currents = meanings & {"ac", "dc"}
    kinds = meanings - currents
    if kinds == {"gbt"} and len(currents) == 1:
        return GBT_AC if "ac" in currents else GBT_DC
    if kinds != {"socket"}:
        # "Tomada Tipo 2" is a socket of Type 2.
        kinds -= {"socket"}
    kind = NBR_14136 if kinds == {"socket"} else _KINDS.get(kinds)
    if kind is TESLA and currents == {"ac"}:
        return TESLA_AC
    # What says two things of itself is not known.
    return kind if kind is not None and currents <= {"dc" if kind.is_dc else "ac"} else None


def _meanings(text: str) -> frozenset[str] | None:
    """What the words mean that `text` can be cut into; None where it cannot."""
    found: list[frozenset[str] | None] = [frozenset(), *[None] * len(text)]
    for start in range(len(text)):
        so_far = found[start]
        if so_far is None:
            continue
        for end in range(min(len(text), start + _LONGEST_WORD), start, -1):
            word = _WORDS.get(text[start:end])
            if word is not None and found[end] is None:
                found[end] = so_far | frozenset(word.split())
    return found[-1]


# Most stations have the same as many others.
@lru_cache(maxsize=1024)
def shown_connectors(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of connectors as drivers see them: each kind by its one name, and once."""
    kinds = ((name, connector_kind(name)) for name in names)
    return tuple(dict.fromkeys(name if kind is None else kind.name or name for name, kind in kinds))


def connector_names(text: str) -> tuple[str, ...]:
    """The names in a list of connectors that a person has written."""
    names: list[str] = []
    for part in _PART.split(text):
        part = part.strip()
        smaller = _PERHAPS_PART.split(part)
        # "CCS2/CHAdeMO" is known to be two; "GB/T AC" is one.
        if all(connector_kind(name) for name in smaller):
            names += smaller
        elif part:
            names.append(part)
    return tuple(names)
