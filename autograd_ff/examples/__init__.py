"""Short programs that each show one thing about training networks: a claim, where it comes from, and what is seen here.

``python -m autograd_ff.examples`` lists them, ``python -m autograd_ff.examples.NAME`` runs one, ``--help`` tells its
options. They are written as a user would write them; what they share is how their command lines look (`command`), the data
(`digits`) and the axes of their pictures (`picture`).
"""
