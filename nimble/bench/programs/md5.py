"""The MD5 message digest.

Ref: RFC 1321, section 3. The message comes padded, in whole blocks of 64 bytes.
"""

from nimble.python import Pointer, entry, u32, u64

# Section 3.4: word i is the integer part of 2**32 * abs(sin(i + 1)).
SINES: tuple[u32, ...] = (
    0xD76AA478, 0xE8C7B756, 0x242070DB, 0xC1BDCEEE, 0xF57C0FAF, 0x4787C62A, 0xA8304613, 0xFD469501,
    0x698098D8, 0x8B44F7AF, 0xFFFF5BB1, 0x895CD7BE, 0x6B901122, 0xFD987193, 0xA679438E, 0x49B40821,
    0xF61E2562, 0xC040B340, 0x265E5A51, 0xE9B6C7AA, 0xD62F105D, 0x02441453, 0xD8A1E681, 0xE7D3FBC8,
    0x21E1CDE6, 0xC33707D6, 0xF4D50D87, 0x455A14ED, 0xA9E3E905, 0xFCEFA3F8, 0x676F02D9, 0x8D2A4C8A,
    0xFFFA3942, 0x8771F681, 0x6D9D6122, 0xFDE5380C, 0xA4BEEA44, 0x4BDECFA9, 0xF6BB4B60, 0xBEBFBC70,
    0x289B7EC6, 0xEAA127FA, 0xD4EF3085, 0x04881D05, 0xD9D4D039, 0xE6DB99E5, 0x1FA27CF8, 0xC4AC5665,
    0xF4292244, 0x432AFF97, 0xAB9423A7, 0xFC93A039, 0x655B59C3, 0x8F0CCC92, 0xFFEFF47D, 0x85845DD1,
    0x6FA87E4F, 0xFE2CE6E0, 0xA3014314, 0x4E0811A1, 0xF7537E82, 0xBD3AF235, 0x2AD7D2BB, 0xEB86D391,
)  # fmt: skip
SHIFTS: tuple[u32, ...] = (7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21)  # four of each round


@entry
def run(repetitions: u64, digest: Pointer[u32], message: Pointer[u32], blocks: u64) -> u64:
    """Write the digest of ``blocks`` blocks; return the first half of it."""
    for _ in range(repetitions):
        digest[0] = 0x67452301
        digest[1] = 0xEFCDAB89
        digest[2] = 0x98BADCFE
        digest[3] = 0x10325476
        for block in range(blocks):
            add_block(digest, message + 16 * block)
    return u64(digest[1]) << 32 | digest[0]


def add_block(digest: Pointer[u32], words: Pointer[u32]) -> None:
    a, b, c, d = digest[0], digest[1], digest[2], digest[3]
    for step in range(16):
        a, b, c, d = d, turned(a + (b & c | ~b & d) + words[step], b, step), b, c
    for step in range(16, 32):
        a, b, c, d = d, turned(a + (b & d | c & ~d) + words[5 * step + 1 & 15], b, step), b, c
    for step in range(32, 48):
        a, b, c, d = d, turned(a + (b ^ c ^ d) + words[3 * step + 5 & 15], b, step), b, c
    for step in range(48, 64):
        a, b, c, d = d, turned(a + (c ^ (b | ~d)) + words[7 * step & 15], b, step), b, c
    digest[0] += a
    digest[1] += b
    digest[2] += c
    digest[3] += d


def turned(total: u32, b: u32, step: u64) -> u32:
    """The end of every step: add the sine, rotate left, add b."""
    shift = SHIFTS[step >> 4 << 2 | step & 3]
    total += SINES[step]
    return b + (total << (shift & 31) | total >> (32 - shift & 31))
