"""What a person can cause: errors whose message is one line that says what is wrong, where, and what to
do.
"""


class MediaError(ValueError):
    """An input that cannot be read or an output that cannot be written; the message names the file."""


class CheckpointError(ValueError):
    """A weights file that cannot be used."""


class TooSmall(ValueError):
    """An image that is too small for what is to be measured."""


class CodecError(RuntimeError):
    """A round trip through a codec that did not give back exactly the frames it was given."""
