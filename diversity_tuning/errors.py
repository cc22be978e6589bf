"""The one exception that is meant for people."""


class UserError(ValueError):
    """Something the person running a command can mend: one line that says what, where and what to do.

    Commands print it as ``error: …`` and exit with status 2 (see :func:`diversity_tuning.cli.command`).
    """
