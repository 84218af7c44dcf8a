"""How wide it is what the blocks of the NIC tell each other."""

from rtl.portals import COMMAND, EVENT, MAX_ATOMIC_BYTES
from rtl.records import WORD_BYTES

ADDRESS_WIDTH = 48
START_WIDTH = ADDRESS_WIDTH + 1  # offset of a match entry in its window, and an offset in the entry
INDEX_WIDTH = 32  # ring and queue indices count modulo 2**32
CONTEXT_WIDTH = 8
NO_CONTEXT = 255  # of a refusal that concerns none
EPOCH_WIDTH = 16
ENTRY_WIDTH = 16  # index of a match entry or unexpected header of a context
SIZE_WIDTH = 17  # bytes of a transfer of host memory: at most 65,536
LENGTH_WIDTH = 32  # bytes of a message
GENERATION_WIDTH = 8  # says which use of a handle is meant
TIMEOUT_WIDTH = 32  # cycles of the device clock
COMMAND_WORDS = COMMAND.length_words
EVENT_REQUEST_WORDS = EVENT.length_words  # the sequence number in the last word is put in by the event writer
INLINE_WORDS = MAX_ATOMIC_BYTES // WORD_BYTES
SLOT_LOG2_BYTES = 6  # of a command and of an event
TAG_WIDTH = 16
