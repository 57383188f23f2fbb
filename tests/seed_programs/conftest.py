"""The programs here are run by ../test_seed_programs.py; importing them, as collecting doctests would, trains a network."""

collect_ignore_glob = ["*.py"]
