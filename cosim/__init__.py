"""Composes everything: reads a scenario, builds the machine, runs hardware beside software, reports.

Nothing imports this room; only `cosim.bridge` knows that reading a register lets simulated time pass.
"""
