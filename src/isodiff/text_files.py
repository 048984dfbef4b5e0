"""Files of text as people have them: plain or compressed, with or without a byte-order mark.

What a file is, its first bytes say, whatever its name. What is no text is refused by name.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from isodiff.errors import InputError, reason
from isodiff.files import regular, unpacked

COMPRESSED = {
    **{".gz": "gzip", ".gzip": "gzip", ".bz2": "bzip2"},
    **{".xz": "xz", ".zst": "Zstandard", ".zstd": "Zstandard"},
}
"""What the last suffix of a compressed file says it is."""
_COMPRESSIONS = {
    "gzip": rb"\x1f\x8b\x08",
    "bzip2": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",
    "xz": rb"\xfd7zXZ\0",
    "Zstandard": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",
}
_FOREIGN = {
    "a Parquet file": rb"PAR1",
    "an Arrow file": rb"ARROW1",
    "a ZIP archive (as .docx, .xlsx and .epub are)": rb"PK(\x03\x04|\x05\x06)",
    "a PDF": rb"%PDF-",
    "a tar archive": rb"(?s).{257}ustar",
    "a 7z archive": rb"7z\xbc\xaf\x27\x1c",
    "a RAR archive": rb"Rar!\x1a\x07",
    "compressed with LZ4": rb"\x04\x22\x4d\x18",
    "an old Office document": rb"\xd0\xcf\x11\xe0",
    "an RTF document": rb"\{\\rtf",
    "a PostScript file": rb"%!PS-Adobe",
    "an SQLite database": rb"SQLite format 3\0",
    "an HDF5 file": rb"\x89HDF\r\n",
    "a NumPy array": rb"\x93NUMPY",
    "an Avro file": rb"Obj\x01",
    "a picture": rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a",
    "in UTF-32": rb"\xff\xfe\0\0|\0\0\xfe\xff",
    "in UTF-16": rb"\xff\xfe|\xfe\xff",
}
_HEAD = 512


def _named(kinds: dict[str, bytes], head: bytes) -> str | None:
    """The kind that the first bytes of a file are of."""
    return next((name for name, begins in kinds.items() if re.match(begins, head)), None)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """What a file holds, decompressed.

    Raises:
        InputError: no such file, no regular one, damaged (it says where), or not compressed as its name says.
    """
    with regular(path).open("rb") as raw:
        kind, said = _named(_COMPRESSIONS, raw.peek(_HEAD)), COMPRESSED.get(path.suffix.lower())
        if said not in (None, kind):
            raise InputError(
                f"{path} is damaged or has a wrong name: it is not compressed with {said}"
            )
        try:
            yield raw if kind is None else unpacked(_decompressed(raw, kind), raw, path)
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's fault, not the file's
            raise InputError(
                f"{path} is damaged at byte {raw.tell()} or before: {reason(error)}; fetch it again"
            ) from None


def _decompressed(raw: IO[bytes], kind: str) -> Any:
    match kind:
        case "gzip":
            return gzip.GzipFile(fileobj=raw)
        case "bzip2":
            return bz2.BZ2File(raw)
        case "xz":
            return lzma.LZMAFile(raw)
        case _:
            import pyarrow as pa

            return pa.CompressedInputStream(raw, "zstd")


def begin_text(file: Any, path: Path) -> int:
    """Skip the byte-order mark of a text in UTF-8, if it has one; the bytes skipped.

    Raises:
        InputError: it is no text; the message says what it is.
    """
    head = file.peek(_HEAD)
    if kind := _named(_FOREIGN, head):
        mend = "convert it with iconv -t UTF-8" if "UTF" in kind else "give the text that it holds"
        raise InputError(f"{path} is {kind}, not text in UTF-8; {mend}")
    if kind := _named(_COMPRESSIONS, head):
        raise InputError(f"{path} is compressed twice, with {kind} inside; decompress it once")
    return len(file.read(len(codecs.BOM_UTF8))) if head.startswith(codecs.BOM_UTF8) else 0
