"""Real processes attacked: `python -m weft.attack` kills and pauses what `weft run` has started, at
seeded random moments, and looks at the table afterwards. (`weft.simulation` attacks the protocol
alone, a thousand times faster.)"""
