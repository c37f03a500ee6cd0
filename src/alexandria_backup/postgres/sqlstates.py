"""What a server's refusal was about: SQLSTATEs that others than this room tell apart."""

from typing import Final

#: The session's role may not do that.
INSUFFICIENT_PRIVILEGE: Final = "42501"
#: A lock was not to be had at once, or within `lock_timeout`.
LOCK_NOT_AVAILABLE: Final = "55P03"
#: What is to be dropped is still needed.
DEPENDENT_OBJECTS_STILL_EXIST: Final = "2BP01"
