"""What may go wrong by the user's or the machine's doing, as text for the user instead of a traceback."""

USAGE_STATUS = 2  # exit status of every UserError


class UserError(Exception):
    """Something that the user can put right. `message` names the thing, the value, the bound and the remedy; it is
    printed on stderr as it is, one line per problem, and the exit status is 2."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)
