"""Sphinx configuration of the book; `book.build` passes this folder as confdir."""

project = "Multi-fidelity learning for materials"
author = "the compendium's authors"
copyright = "MIT licence"

extensions = ["myst_nb", "mfutils.compendium.book.mathml"]
nb_execution_mode = "off"
nb_merge_streams = True
nb_remove_code_outputs = False
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "attrs_inline"]
myst_dmath_double_inline = True
myst_heading_anchors = 3
math_numfig = True
numfig = True
numfig_secnum_depth = 1
numfig_format = {"figure": "Figure %s", "table": "Table %s"}

# The copies for download are not pages
exclude_patterns = ["notebooks/*/*.ipynb"]

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_math_renderer = "mathml"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],
    "home_page_in_toc": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_copy_source = False
html_show_sourcelink = False
# A page of a book that is opened from the file system must not ask the network
html_baseurl = ""
suppress_warnings = ["misc.highlighting_failure", "mystnb.unknown_mime_type"]
