"""Prompts: sandboxed templates over a row, versioned by their hash."""
