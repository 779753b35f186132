"""LZW as Go's compress/lzw writes it: least significant bit first, 8-bit literals, codes of at most 12 bits.

That is GIF's variant, without the early change of TIFF; see Go compress/lzw reader.go and writer.go.
"""

from typing import Final

from gossip.errors import DecodeError, RejectReason

_CLEAR: Final = 256
_END: Final = 257
_MAX_WIDTH: Final = 12
_LAST_CODE: Final = (1 << _MAX_WIDTH) - 1


def compress(data: bytes, *, leading_clear: bool = True) -> bytes:
    """Encode bytes.

    Args:
        data: what to encode.
        leading_clear: begin with a clear code, as newer Go releases do; every decoder takes both forms.
    """
    out = bytearray()
    bits = _CLEAR if leading_clear else 0
    count = 9 if leading_clear else 0
    table: dict[int, int] = {}
    high, limit, width = _END, 1 << 9, 9
    pending = -1
    for byte in data:
        if pending < 0:
            pending = byte
            continue
        pair = pending << 8 | byte
        code = table.get(pair)
        if code is not None:
            pending = code
            continue
        bits |= pending << count
        count += width
        pending = byte
        high += 1
        if high == limit:
            width += 1
            limit <<= 1
        if high == _LAST_CODE:
            bits |= _CLEAR << count
            count += width
            table.clear()
            high, limit, width = _END, 1 << 9, 9
        else:
            table[pair] = high
        whole = count >> 3
        out += (bits & ((1 << whole * 8) - 1)).to_bytes(whole, "little")
        bits >>= whole * 8
        count &= 7
    if pending >= 0:
        bits |= pending << count
        count += width
        high += 1
        if high == limit:
            width += 1
        if high == _LAST_CODE:
            bits |= _CLEAR << count
            count += width
            width = 9
    bits |= _END << count
    count += width
    out += bits.to_bytes((count + 7) >> 3, "little")
    return bytes(out)


def decompress(data: bytes, *, limit: int) -> bytes:
    """Decode bytes up to the end code; what follows it is ignored.

    Args:
        data: the encoded form.
        limit: most bytes to give back.

    Raises:
        DecodeError: an invalid code (MALFORMED), no end code (TRUNCATED), or more than `limit` bytes (TOO_LARGE).
    """
    decoder = Decoder(limit)
    plain = decoder.take(data)
    if not decoder.ended:
        raise truncated()
    return plain


def truncated() -> DecodeError:
    """What to say when the data is over before its end code."""
    return DecodeError(RejectReason.TRUNCATED, "LZW data has no end code")


class Decoder:
    """Decodes piece by piece: the cost of a call is in proportion to its piece.

    Args:
        limit: most bytes to give back, all pieces together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._table = [*(bytes((value,)) for value in range(256)), b"", b""]
        self._width = 9
        self._last = b""
        self._bits = self._count = 0
        self.ended = False
        """Whether the end code was seen; what follows it is ignored."""

    def take(self, data: bytes | memoryview) -> bytes:
        """Decode the next piece.

        Raises:
            DecodeError: MALFORMED or TOO_LARGE.
        """
        table, width, last = self._table, self._width, self._last
        bits, count, size = self._bits, self._count, self._size
        ceiling, limit = 1 << width, self._limit
        parts: list[bytes] = []
        for byte in data:
            bits |= byte << count
            count += 8
            if count < width:
                continue
            code = bits & (ceiling - 1)
            bits >>= width
            count -= width
            if code == _CLEAR:
                del table[_END + 1 :]
                width, ceiling, last = 9, 1 << 9, b""
                continue
            if code == _END:
                self.ended = True
                break
            known = len(table)
            if code < known:
                piece = table[code]
            elif code == known and last:
                piece = last + last[:1]
            else:
                raise DecodeError(RejectReason.MALFORMED, f"LZW code {code} is not defined yet")
            if last and known <= _LAST_CODE:
                table.append(last + piece[:1])
            size += len(piece)
            if size > limit:
                raise DecodeError(RejectReason.TOO_LARGE, f"expands to more than {limit} bytes")
            parts.append(piece)
            last = piece
            if len(table) == ceiling and width < _MAX_WIDTH:
                width += 1
                ceiling <<= 1
        self._width, self._last = width, last
        self._bits, self._count, self._size = bits, count, size
        return b"".join(parts)
