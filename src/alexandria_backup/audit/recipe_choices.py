"""What a recipe chooses about the previous row's HMAC, and about the first row, which has none."""

from enum import StrEnum
from typing import Final


class Previous(StrEnum):
    """How the previous row's HMAC enters the message."""

    #: Its 32 bytes, behind or before the values.
    RAW_LAST = "raw-last"
    RAW_FIRST = "raw-first"
    #: As the column holds it, behind or before the values.
    TEXT_LAST = "text-last"
    TEXT_FIRST = "text-first"
    #: As one of the fields: `prev_hmac` stands among them.
    FIELD = "field"


class Genesis(StrEnum):
    """What stands for the previous HMAC in the first row of a chain; else a text of its own."""

    #: 32 zero bytes, which the column may also hold as NULL.
    ZEROS = "zeros"
    #: Nothing: the column is NULL or empty, and no byte enters.
    NOTHING = "nothing"


#: Before a genesis that is a text.
GENESIS_TEXT: Final = "text:"
