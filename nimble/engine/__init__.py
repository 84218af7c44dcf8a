"""Engines: ways to run one program; all agree on results, faults and instruction counts."""
