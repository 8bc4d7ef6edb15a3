"""Unpack one member of an untrusted zip to exactly the size that its directory states.

zipfile cannot limit the size that a chunk of bzip2 or LZMA unpacks to, and does not know Zstandard
and xz, so these are unpacked here. Deflate64 is refused: inflate64, the only library for it, cannot
limit the size either.
"""

from __future__ import annotations

import bz2
import copy
import lzma
import sys
import zipfile
import zlib
from typing import IO, Protocol

try:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
except ModuleNotFoundError:  # such zips are then refused, as those of other methods
    HAS_ZSTD = False
    _ZSTD_ERRORS: tuple[type[Exception], ...] = ()
else:
    HAS_ZSTD, _ZSTD_ERRORS = True, (zstd.ZstdError,)

_CHUNK = 64 * 1024
ZSTD, XZ = 93, 95
METHODS = (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
    XZ,
    *([ZSTD] if HAS_ZSTD else []),
)
UNPACK_ERRORS: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    *_ZSTD_ERRORS,
)
_XZ_MEMORY = 66 << 20
"""Enough for the highest preset."""
_ZSTD_WINDOW_LOG = 23
"""Logarithm of 8 MiB, which RFC 8878 recommends to support, whatever the size of the content."""


class _Decompressor(Protocol):
    @property
    def needs_input(self) -> bool: ...
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the content of a member; the caller limits `info.file_size`. Thread-safe.

    Raises BadZipFile or an error of the decompressor if it is damaged or has another size.
    """
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with archive.open(info) as file:
            data = file.read(info.file_size + 1)
    else:
        with archive.open(_as_stored(info)) as file:
            data = _decompressed(file, _decompressor(file, info), info.file_size + 1)
        if zlib.crc32(data) != info.CRC:
            raise zipfile.BadZipFile("bad checksum")
    if len(data) != info.file_size:
        raise zipfile.BadZipFile("not the size in the directory")
    return data


def _as_stored(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """A member whose content is the packed data, without a checksum."""
    stored = copy.copy(info)
    stored.compress_type = zipfile.ZIP_STORED
    stored.file_size = info.compress_size
    stored.CRC = None  # type: ignore[assignment]  # zipfile then checks none
    return stored


def _decompressor(file: IO[bytes], info: zipfile.ZipInfo) -> _Decompressor:
    if info.compress_type == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor()
    if info.compress_type == XZ:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    if info.compress_type == ZSTD:
        window = max(_ZSTD_WINDOW_LOG, info.file_size.bit_length())
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window})
    # APPNOTE 5.8.8: version (2 bytes), size of the properties (2), properties, raw LZMA data.
    header = file.read(4)
    properties = file.read(int.from_bytes(header[2:], "little"))
    if len(properties) != 5:
        raise zipfile.BadZipFile("unknown LZMA properties")
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    # A dictionary as large as the output is always enough; the stated one can be 4 GiB.
    size = min(int.from_bytes(properties[1:], "little"), info.file_size)
    options = {"id": lzma.FILTER_LZMA1, "dict_size": max(4096, size), "lc": lc, "lp": lp, "pb": pb}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options])


def _decompressed(file: IO[bytes], decompressor: _Decompressor, limit: int) -> bytes:
    data = bytearray()
    while len(data) < limit and not decompressor.eof:
        packed = file.read(_CHUNK) if decompressor.needs_input else b""
        if decompressor.needs_input and not packed:
            break
        data += decompressor.decompress(packed, limit - len(data))
    return bytes(data)
