"""Tools that dialogues may call: Python functions, or APIs that an LLM plays."""
