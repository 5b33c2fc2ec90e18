"""Length-prefixed frames on asyncio streams, directly between the processes of a pipeline.

`wire` cuts the stream into frames, `handshake` proves the token, `server` listens, `mesh` keeps a
connection to each peer and moves a protocol node's frames over it.
"""
