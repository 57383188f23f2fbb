"""A view as one self-contained page to pan, search and open modules in."""
