"""The error that every part raises for what the user can mend, and how errors are told. Light, as
`container.py` is."""

DEBUG = "AUTOCOMPRESSOR_DEBUG"  # set it to 1 to see where an error comes from


class UserError(ValueError):
    """A file, a picture, a model or an option that cannot be used; the message is one line for the user."""


def message_of(error: Exception) -> str:
    """What the user is told of an error: what he can mend as it is, any other as a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or _is_lack_of_memory(str(error)):
        return "not enough memory"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return (
        f"a fault of the program, {type(error).__name__}: {error}; please report it with what "
        f"{DEBUG}=1 shows, which is where it comes from"
    )


def _is_lack_of_memory(message):
    """Whether an error of PyTorch, which has a type for this on GPUs alone, says that memory is short."""
    return "can't allocate memory" in message or "out of memory" in message
