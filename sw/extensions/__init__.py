"""Application-inserted, untrusted extensions."""
