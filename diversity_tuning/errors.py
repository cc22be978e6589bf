"""The exception whose message is shown to the user."""


class UserError(ValueError):
    """An error that the user can resolve: one line that says what, where and what to do.

    Commands print it as ``error: …`` and exit with status 2 (see :func:`diversity_tuning.cli.command`).
    """
