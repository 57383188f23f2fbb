"""Views made simpler: modules, equal neighbours, chains and stretches become one node each; `simplify` decides
which."""
