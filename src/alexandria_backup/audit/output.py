"""How a raw HMAC stands in a column of text or `bytea`; one way only is right for each."""

import base64
import binascii
from enum import StrEnum


class Output(StrEnum):
    """How the columns of the HMACs are written."""

    HEX = "hex"
    HEX_UPPER = "hex-upper"
    BASE64 = "base64"
    BASE64URL = "base64url"
    #: A column of type `bytea`.
    BYTEA = "bytea"

    def write(self, digest: bytes) -> bytes:
        """Return a raw HMAC as the server gives the column as text."""
        match self:
            case Output.HEX:
                return binascii.hexlify(digest)
            case Output.HEX_UPPER:
                return binascii.hexlify(digest).upper()
            case Output.BASE64:
                return base64.b64encode(digest)
            case Output.BASE64URL:
                return base64.urlsafe_b64encode(digest).rstrip(b"=")
            case Output.BYTEA:
                return rb"\x" + binascii.hexlify(digest)

    def read(self, text: bytes) -> bytes | None:
        """Return the raw bytes, or None where the text is not what `write` makes of them."""
        try:
            digest = self._read(text)
        except (ValueError, binascii.Error):
            return None
        return digest if self.write(digest) == text else None

    def _read(self, text: bytes) -> bytes:
        if self is Output.BASE64:
            return base64.b64decode(text, validate=True)
        if self is Output.BASE64URL:
            plain = text.translate(bytes.maketrans(b"-_", b"+/"))
            return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
        return binascii.unhexlify(text.removeprefix(rb"\x") if self is Output.BYTEA else text)
