"""The error that every part raises for what the user can mend, and how errors are told. Light, as
`container.py` is."""

_SIGNS_OF_LACK = (
    "can't allocate memory",
    "out of memory",
    "Failed to allocate memory",
    "bad_alloc",
    "bad allocation",
)
DEBUG = "AUTOCOMPRESSOR_DEBUG"  # set it to 1 to see where an error comes from


class UserError(ValueError):
    """A file, a picture, a model or an option that cannot be used; the message is one line for the user."""


def message_of(error: Exception) -> str:
    """What the user is told of an error: what he can mend as it is, any other as a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if is_lack_of_memory(error):
        return "not enough memory"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return (
        f"a fault of the program, {type(error).__name__}: {error}; please report it with what "
        f"{DEBUG}=1 shows, which is where it comes from"
    )


def is_lack_of_memory(error: Exception) -> bool:
    """Whether an error says that memory is short; those of PyTorch and ONNX Runtime have no type for it."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS_OF_LACK)
