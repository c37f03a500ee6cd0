"""What a server's refusal was about: SQLSTATEs that others than this room tell apart."""

from typing import Final

#: The session's role may not do that.
INSUFFICIENT_PRIVILEGE: Final = "42501"
#: There is no database of that name, or no longer.
DATABASE_MISSING: Final = "3D000"
#: A lock was not to be had at once, or within `lock_timeout`.
LOCK_NOT_AVAILABLE: Final = "55P03"
#: What is to be dropped is still needed.
DEPENDENT_OBJECTS_STILL_EXIST: Final = "2BP01"
#: A page, or a row on it, cannot be what was written.
DATA_CORRUPTED: Final = "XX001"
#: An index is not in order, or lacks what its table has.
INDEX_CORRUPTED: Final = "XX002"
#: It is no SQL, or more than one statement where one is expected.
SYNTAX_ERROR: Final = "42601"
#: A limit of time has passed, or somebody has cancelled it.
QUERY_CANCELED: Final = "57014"
