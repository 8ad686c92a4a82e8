"""The book: executed notebooks rendered to a static HTML site that needs no network.

`pages` turns each executed notebook into a page whose figures carry number, caption,
alternative text and links to notebook and data; `printed` writes the page of printed
values beside ours; `mathml` renders equations at build time; `conf.py` configures Sphinx.
Nothing is executed here: a notebook that never ran is an error, not an empty page.
"""
