"""The one exception a user's mistake ends in."""


class UserError(Exception):
    """Something the user can mend; the message names the file or params key and says what to do."""
