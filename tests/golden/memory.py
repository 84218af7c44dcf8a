"""Host memory as the NIC sees it: bytes, and places that answer with an error."""


class Memory:
    """`size` bytes of zeros; an access beyond them or to a range of `faulty` is answered with an error."""

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)
        self.faulty: list[range] = []

    def _good(self, address: int, length: int) -> bool:
        end = address + length
        return end <= len(self.bytes) and not any(bad.start < end and address < bad.stop for bad in self.faulty)

    def read(self, address: int, length: int) -> bytes | None:
        """The bytes there, or None for an error."""
        return bytes(self.bytes[address : address + length]) if self._good(address, length) else None

    def write(self, address: int, data: bytes) -> bool:
        """Whether memory took all of it. With an error, the bytes that lie at good places are written all the same."""
        if self._good(address, len(data)):
            self.bytes[address : address + len(data)] = data
            return True
        for place, byte in enumerate(data, address):
            if self._good(place, 1):
                self.bytes[place] = byte
        return False
