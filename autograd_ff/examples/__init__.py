"""Short programs that each show one thing about training networks: a claim, where it comes from, and what is seen here.

``python -m autograd_ff.examples`` lists them, ``python -m autograd_ff.examples.NAME`` runs one, ``--help`` tells its
options, ``README.md`` has results. They are written as a user would write them; what they share is how their command lines look
(`command`), data (`digits`, and `splits` of texts), the axes of their pictures (`picture`), and of classes of texts the tables
(`comparison`) with their rows (`baselines`, `tuned`).
"""
