"""Trusted extensions that drive devices through their registers."""
