"""The commands that work on data and samples, each with ``main(argv)``; those that train are in :mod:`~.training`."""
