"""Which reading of a key file is the key: the first row that verifies decides."""

from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import Hasher, Recipe


class Judge:
    """Recomputes HMACs; as long as none was right, with every reading of the key."""

    def __init__(self, recipe: Recipe, key: AuditKey) -> None:
        self._recipe = recipe
        self._candidates = [(name, Hasher(candidate)) for name, candidate in key.reveal()]
        #: Whether a row has verified: then what does not is the row's fault, not the key's.
        self.proved = False

    @property
    def encoding(self) -> str | None:
        """How the key is written, once a row has verified."""
        return self._candidates[0][0] if self.proved else None

    def compute(self, message: bytes, stored: bytes) -> bytes | None:
        """Return the raw HMAC of a message if that is what is `stored`, else None."""
        for name, hasher in self._candidates:
            digest = hasher.digest(message)
            if self._recipe.write(digest).encode() == stored:
                if not self.proved:
                    self.proved = True
                    self._candidates = [(name, hasher)]
                return digest
        return None
