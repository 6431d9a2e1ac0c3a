"""The error that a user can cause and mend."""


class UserError(Exception):
    """What was wrong, what was expected and what to do, in one line.

    Entry points print it to stderr and exit with code 2.
    """
