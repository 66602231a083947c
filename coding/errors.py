"""The error that every part raises for what the user can mend. Light, as `container.py` is."""


class UserError(ValueError):
    """A file, a picture, a model or an option that cannot be used; the message is one line for the user."""
