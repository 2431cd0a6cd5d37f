"""How Sphinx builds the site: `make docs`. Nothing is fetched while it is built, and every warning is an error."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # the tutorial's netpick

project = "netpick"
version = release = version_of("netpick")
extensions = ["myst_nb", "sphinx_design", "numpydoc", "sphinx.ext.autodoc", "netpick_docs"]
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["colon_fence", "attrs_block"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

nb_execution_mode = "force"  # the tutorial is what netpick does now
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

smartquotes = False  # two hyphens are an option, not a dash
toc_object_entries = False  # the headings are enough
default_role = "code"  # docstrings set names in single backticks
autosummary_generate = False  # numpydoc brings the extension; nothing here uses it
autodoc_typehints = "none"  # numpydoc's sections say them in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "netpick"
html_static_path = ["_static"]
html_css_files = ["netpick.css"]
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "footer_start": [],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
}
html_sidebars = {page: [] for page in ("index", "getting_started", "studies", "decisions/index")}
