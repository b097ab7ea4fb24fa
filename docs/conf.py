"""How Sphinx builds the documentation: `make docs`."""

from gettext import NullTranslations
from typing import ClassVar

from docutils.nodes import Node
from pygments.lexer import RegexLexer
from pygments.token import Generic, Keyword, Name, Number, String, Text
from sphinx.addnodes import toctree
from sphinx.application import Sphinx
from sphinx.environment.adapters.toctree import TocTree

from evcharge import __version__

project = "evcharge"
author = "the evcharge authors"
copyright = "2026, the evcharge authors"
release = version = __version__
language = "en"

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
myst_heading_anchors = 3
highlight_language = "none"
# Of a block with commands, or with what is sent, these alone are copied.
copybutton_prompt_text = r"\$ |> "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"
html_theme = "furo"
html_title = "evcharge"
html_favicon = "../evcharge/web/page/icon.svg"
html_static_path = ["_static"]
html_css_files = ["evcharge.css"]
html_theme_options = {"top_of_page_buttons": []}
html_show_sourcelink = False
html_show_sphinx = False
html_copy_source = False


TEXTS = {
    "Back to top": "Voltar ao início",
    "Made with ": "Feito com ",
    "On this page": "Nesta página",
    "Search": "Buscar",
    "Skip to content": "Ir para o conteúdo",
}
"""What furo itself says on a page. It knows no Portuguese."""


class Portuguese(NullTranslations):
    """Translates it."""

    def gettext(self, message: str) -> str:
        return TEXTS.get(message, message)


def speak(app: Sphinx, name: str, template: str, context: dict, doctree: Node | None) -> None:
    """Have each page lead to its twin, and a page in Portuguese be Portuguese all over."""
    portuguese = name.startswith("pt/")
    twin = name.removeprefix("pt/") if portuguese else f"pt/{name}"
    # The first page says so itself.
    if twin in app.env.found_docs and not name.endswith("index"):
        context["twin"] = twin
        context["twin_language"] = "en" if portuguese else "pt-BR"
        context["twin_name"] = "English" if portuguese else "Português"
    # Each page says itself where to go next, which is not always the one that is listed next.
    context["prev"] = context["next"] = None
    translations = Portuguese() if portuguese else NullTranslations()
    app.builder.templates.environment.install_gettext_translations(translations)
    if portuguese:
        context["language"] = "pt-BR"
        context["master_doc"] = "pt/index"
        context["toctree"] = lambda **options: listed(app, name)


def listed(app: Sphinx, name: str) -> str:
    """The pages in Portuguese, as page `name` lists them beside it."""
    (tree,) = app.env.get_doctree("pt/index").findall(toctree)
    entries = TocTree(app.env).resolve(
        name, app.builder, tree, titles_only=True, includehidden=True
    )
    return app.builder.render_partial(entries)["fragment"]


class Transcript(RegexLexer):
    """What is sent to a server and what it answers: JSON, of which parts are left out by `…`."""

    tokens: ClassVar = {
        "root": [
            (r"^[<>] ", Generic.Prompt),
            (r'"(?:\\.|[^"\\\n])*"(?=\s*:)', Name.Attribute),
            (r'"(?:\\.|[^"\\\n])*"', String),
            (r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", Number),
            (r"\b(?:true|false|null)\b", Keyword),
            (r"\s+|.", Text),
        ],
    }


def setup(app: Sphinx) -> None:
    app.add_lexer("transcript", Transcript)
    # Before furo's own, at 500, which makes the list of pages.
    app.connect("html-page-context", speak, priority=400)
