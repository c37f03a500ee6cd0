"""PostgreSQL's encodings under Python's names."""

from typing import Final

from alexandria_backup.errors import PrecheckRefused

#: PostgreSQL's name to Python's; the others have no codec here, or none is needed.
_CODECS: Final = {
    "BIG5": "big5hkscs",
    "EUC_CN": "gb2312",
    "EUC_JIS_2004": "euc_jis_2004",
    "EUC_JP": "euc_jp",
    "EUC_KR": "euc_kr",
    "GB18030": "gb18030",
    "GBK": "gbk",
    "ISO_8859_5": "iso8859-5",
    "ISO_8859_6": "iso8859-6",
    "ISO_8859_7": "iso8859-7",
    "ISO_8859_8": "iso8859-8",
    "JOHAB": "johab",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "LATIN1": "iso8859-1",
    "LATIN2": "iso8859-2",
    "LATIN3": "iso8859-3",
    "LATIN4": "iso8859-4",
    "LATIN5": "iso8859-9",
    "LATIN6": "iso8859-10",
    "LATIN7": "iso8859-13",
    "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15",
    "LATIN10": "iso8859-16",
    "SHIFT_JIS_2004": "shift_jis_2004",
    "SJIS": "cp932",
    "UHC": "cp949",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "WIN1253": "cp1253",
    "WIN1254": "cp1254",
    "WIN1255": "cp1255",
    "WIN1256": "cp1256",
    "WIN1257": "cp1257",
    "WIN1258": "cp1258",
    "WIN866": "cp866",
    "WIN874": "cp874",
}


def decode(raw: bytes, encoding: str | None) -> str:
    r"""Return text of an archive in PostgreSQL's `encoding`.

    UnicodeDecodeError where it is UTF8 and `raw` is not. In other encodings, in SQL_ASCII and where
    none is known, what cannot be decoded is shown as `\xNN`: Python's tables differ from
    PostgreSQL's in a few places, and that must not keep a good archive from being read.
    """
    if encoding == "UTF8":
        return raw.decode("utf-8")
    return raw.decode(_CODECS.get(encoding or "", "utf-8"), "backslashreplace")


def encode(text: str, encoding: str) -> bytes:
    """Return `text` in PostgreSQL's `encoding`; PrecheckRefused where it cannot be written there.

    The inverse of `decode`. Where Python has no such encoding, only ASCII is certain to be right.
    """
    codec = "utf-8" if encoding in ("UTF8", "SQL_ASCII") else _CODECS.get(encoding, "ascii")
    try:
        return text.encode(codec)
    except UnicodeEncodeError as exc:
        raise PrecheckRefused(f"`{text.strip()}` cannot be written in {encoding}") from exc
