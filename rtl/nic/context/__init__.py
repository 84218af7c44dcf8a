"""Contexts: their indices and doorbells, their event queues and counters."""
