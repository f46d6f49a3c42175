"""The one exception that users see as a single line instead of a traceback."""


class UserError(Exception):
    """Something the user can put right.

    The message is one line: it names the file, key or class and says what to do.
    `stages.runner` prints it and exits with status 1; any other exception is a
    bug of ours and keeps its traceback.
    """
