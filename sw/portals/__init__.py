"""The user-level library over the NIC: commands and events in the process's own memory, no trap on the send path."""
