"""The site: `make docs`."""

import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "jrn-lightning"
copyright = "the jrn-lightning developers"
version = release = metadata.version("jrn-lightning")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "generated",  # the references of the configuration and of the command line
]
exclude_patterns = ["_build", "_ext"]
suppress_warnings = ["toc.not_included"]  # tables that a study links to
myst_enable_extensions = ["colon_fence", "deflist"]  # no formulas: MathJax is not offline
myst_heading_anchors = 3
smartquotes = False  # an option is written --out
nb_render_markdown_format = "myst"  # a table that a notebook shows is a table here
nb_execution_mode = "off"  # `make docs` has executed them on a sweep
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True

html_theme = "furo"
html_title = "jrn-lightning"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
