"""The processes of a pipeline: one head, the agents, the writers; placed and watched by Ray.

`process` is what all of them share, `head`, `agent` and `writer` are the roles, `registry` and
`membership` the two ends of the directory, `hops` what happens to one row at one agent, `actors`
the Ray side, `local` a whole pipeline on this machine, `pod` the entry points of a cluster's pods.
"""
