"""What a person reads: pages of Markdown taken apart, and how plainly a text is written."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

from tests.support.servers import ROOT

DOCS = ROOT / "docs"

MOST_WORDS, MEAN_WORDS = 35, 18
"""Of a sentence, and of the sentences of a page."""

WRONG = {
    "en": {
        r"charging points?": "station",
        r"free places?|charging places?|places? (?:is|are) (?:free|taken)": "slot",
        r"where (?:everything|all) is kept": "storage",
        r"waiting (?:line|list)s?|(?:wait|stand|first|place|cars?|turn) in line": "queue",
        r"(?:join|leave|stand in|wait in|head of|front of) the line": "queue",
        r"for whom|let in": "client address, connection limit",
        r"h[au]ng(?:s|ing)? up|(?:is|are|be|gets?) cut off|cut(?:s|ting)? \w+ off": (
            "refuse, disconnect"
        ),
        r"for who": "for you, if you",
    },
    "pt": {
        r"pontos? de recarga": "posto, vaga",
        r"pedidos?": "requisição",
        r"lugar(?:es)? (?:livre|vago|ocupado)s?": "vaga",
        r"onde tudo fica|em um lugar que": "armazenamento",
        r"(?:lista|fila)s? de espera": "fila",
        r"sem cifra|cifrad[oa]s?": "criptografia",
        r"dividem": "compartilham, usam",
        r"(?:cort|derrub)\w+ (?:a|as|uma) conex\w+": "desconectar",
    },
}
"""Words that people are not told, by language, and what they are told in their place."""

READER = {
    "en": r"for (?:you|everybody|app writers|operators|engineers|planners|teachers|contributors)\b"
    r"|\b(?:Writing|Running|Comparing|Planning|Teaching|Contributing)\b[^.!?]*\?",
    "pt": r"para (?:você|todos|quem|operadores|engenheiros|professores)\b"
    r"|\b(?:Escreve|Opera|Compara|Planeja|Ensina|Contribui)\b[^.!?]*\?",
}
NEXT = {"en": "Next: ", "pt": "A seguir: "}

_END = re.compile(r"(?<=[.!?…])[\"'”’»)*_]*\s+")
_NO_END = re.compile(r"(?:\b(?:e\.g|i\.e|p\. ?ex|vs|cf|Av|Dr|Sr|Sra|No|St)\.|^\d+\.)$")


@dataclass
class Page:
    """A page of Markdown."""

    path: Path
    text: str
    headings: list[tuple[int, str]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    """Where it leads, pictures included, as it says."""
    code: list[tuple[str, str]] = field(default_factory=list)
    """Language and text of each block."""
    said: list[str] = field(default_factory=list)
    """Paragraphs and items of lists, as they are read."""
    words: list[str] = field(default_factory=list)
    """The same with headings and tables, but without the code that is in them."""
    introduction: str = ""
    """What is said before the second heading, or the first block."""

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def language(self) -> str:
        return "pt" if "pt" in self.path.parts or "pt-BR" in self.name else "en"

    @property
    def in_docs(self) -> bool:
        return self.path.is_relative_to(DOCS)

    @property
    def moved(self) -> bool:
        """Whether it is kept for its address alone, and leads to where its matter is now."""
        return self.text.startswith("---\norphan: true\n")

    @property
    def anchors(self) -> set[str]:
        """What can be linked to in it."""
        seen: dict[str, int] = {}
        found = set(re.findall(r'<a (?:id|name)="([^"]+)">', self.text))
        for _, title in self.headings:
            anchor = re.sub(r"[^\w -]", "", title.strip().lower()).replace(" ", "-")
            times = seen[anchor] = seen.get(anchor, -1) + 1
            found.add(f"{anchor}-{times}" if times else anchor)
        return found


_MARKDOWN = MarkdownIt("commonmark").enable("table")


@cache
def page(path: Path) -> Page:
    """The page in a file; of the changelog, the newest part."""
    text = path.read_text()
    if path.name == "CHANGELOG.md":
        text = "\n## ".join(re.split(r"\n## ", text)[:2])
    read = Page(path, text)
    kind = ""
    for token in _MARKDOWN.parse(re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)):
        if token.type in ("heading_open", "paragraph_open", "th_open", "td_open"):
            kind = token.tag
        elif token.type in ("fence", "code_block"):
            read.code.append((token.info.strip(), token.content))
        elif token.type == "inline":
            children = token.children or []
            parts = {"text": "{}", "code_inline": "{}", "softbreak": " ", "hardbreak": " "}
            said = "".join(parts.get(each.type, "").format(each.content) for each in children)
            parts["code_inline"] = "`…`"
            read.words.append(
                "".join(parts.get(each.type, "").format(each.content) for each in children)
            )
            read.links += [
                str(each.attrs[name])
                for each in children
                for name in ("href", "src")
                if name in each.attrs
            ]
            if kind[0] == "h":
                read.headings.append((int(kind[1]), said))
            elif kind == "p" and said.strip():
                read.said.append(said)
                if len(read.headings) <= 1 and not read.code:
                    read.introduction += said + "\n"
    return read


@cache
def pages() -> tuple[Page, ...]:
    """All of them: the documentation, and what stands in the folders' own."""
    others = ("README*.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")
    paths = [*DOCS.rglob("*.md"), *(path for each in others for path in ROOT.glob(each))]
    return tuple(page(path) for path in sorted(paths))


def sentences(text: str) -> Iterator[str]:
    """Those of a paragraph. One ends at `.`, `!`, `?` or `…` before a space; not at `:` or `;`."""
    begun = ""
    for part in _END.split(text):
        begun = f"{begun} {part}".strip()
        if not _NO_END.search(begun):
            yield begun
            begun = ""
    if begun:
        yield begun


def count(sentence: str) -> int:
    """Its words; those of code within it are some, too."""
    return sum(any(map(str.isalnum, word)) for word in sentence.split())


def lengths(said: list[str]) -> Iterator[str]:
    """What is too long in paragraphs, items or lines of help."""
    found = [each for text in said for each in sentences(text) if count(each)]
    for each in found:
        if count(each) > MOST_WORDS:
            yield f"{count(each)} words in a sentence, {MOST_WORDS} at the most: {each}"
    mean = sum(map(count, found)) / max(len(found), 1)
    if mean > MEAN_WORDS:
        yield f"{mean:.1f} words a sentence, {MEAN_WORDS} at the most"


def wrong_words(texts: list[str], language: str) -> Iterator[str]:
    """Where texts do not use the field's words."""
    for text in texts:
        for wrong, right in WRONG[language].items():
            for found in re.finditer(rf"\b(?:{wrong})\b", text, re.I):
                around = text[max(found.start() - 30, 0) : found.end() + 30]
                yield f"{found[0]!r} in place of {right!r}: …{around}…"
