"""How Sphinx builds the documentation: `make docs`."""

from pygments.lexers.special import TextLexer

from evcharge import __version__

project = "evcharge"
author = "the evcharge authors"
copyright = "2026, the evcharge authors"
release = version = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
highlight_language = "none"
html_theme = "furo"
html_title = "evcharge"
html_favicon = "../evcharge/web/page/icon.svg"


def setup(app):
    # What is sent to a server and what it answers: shown as it is.
    app.add_lexer("transcript", TextLexer)
