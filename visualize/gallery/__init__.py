"""Pictures to show, each with the program that makes it.

``python -m visualize.gallery`` draws all of them again, and the page that shows them; with names, only these. A program's
docstring is the caption of its picture.
"""
