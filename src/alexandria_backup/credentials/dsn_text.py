"""What people put into secrets when they mean a DSN, told apart and said."""

import base64
import binascii
import re

from alexandria_backup.errors import CredentialsNotFound
from alexandria_backup.events import Emit, Note
from alexandria_backup.secret import Secret

_LOOKS_LIKE_A_DSN = re.compile(r"\s*(postgres(ql)?(\+\w+)?://|\w+\s*=)")


def secret_text(data: bytes, place: str, emit: Emit, *, mend: str) -> Secret:
    """Return the text of a secret without the white space around it.

    `place` names it and `mend` is a command that sets it anew. Raises CredentialsNotFound for what
    is empty, no text, or base64 of a DSN: whoever encoded twice has an application that cannot
    read it either.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CredentialsNotFound(f"{place} is not UTF-8 text", hint=mend) from None
    kept = text.strip()
    if not kept:
        raise CredentialsNotFound(f"{place} is empty", hint=mend)
    if _is_encoded_twice(kept):
        raise CredentialsNotFound(f"{place} holds base64 of a DSN: it was encoded twice", hint=mend)
    if kept != text:
        emit(Note(message=f"{place} has white space around it, such as a newline; it is left out"))
    return Secret(kept)


def _is_encoded_twice(text: str) -> bool:
    try:
        inner = base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    return bool(_LOOKS_LIKE_A_DSN.match(inner))
