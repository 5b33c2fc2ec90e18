"""The delivery protocol as pure state machines: no I/O, no clock, no randomness of their own.

Time comes in as an argument (seconds, monotonic), frames go in and out as values. The transport
carries them between processes; the simulator carries them in one process, with faults.

Read in this order: `message`, `view`, `link`, `outbox`, `node`, then the roles `agent`, `source`,
`writer` and `directory`, and `census`.
"""
