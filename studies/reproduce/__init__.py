"""The reproduction of the paper, end to end: the table of stages, what runs them, and what is printed at the end.

`reproduce.sh` starts it. :mod:`stages` is the table to read; :mod:`plans` strings its parts together for the flags. Nothing
here needs a package that does not come with Python, so that ``--dry_run`` works before anything is installed.
"""
