"""The state of a chain, small enough to be kept where the database's administrators cannot write.

A chain cannot show by itself that its end was cut off or that somebody with the key rewrote it. An
anchor can: the chain must still hold, at the anchor's position, the anchored HMAC, and everything
up to there must have the anchored digest.
"""

from dataclasses import dataclass
from typing import Final

#: The name of the chain of a table that is one chain.
WHOLE_TABLE: Final = ""


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A chain's first and last row, how many there are, and a digest over all of them."""

    #: The tenant; empty where the whole table is one chain, and for rows of no tenant.
    chain: str
    #: Rows from the first to the last; rows without an HMAC are not counted.
    count: int
    first_id: str
    #: HMACs as the column holds them.
    first_hmac: str
    last_id: str
    last_hmac: str
    #: SHA-256, in hex, over the SHA-256 of each row in the chain's order; a row's is that of its
    #: length-prefixed values in the recipe's order, then `prev_hmac` and `hmac`.
    rolling: str
