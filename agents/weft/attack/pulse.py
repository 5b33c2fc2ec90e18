"""Whether a pipeline under attack lives, told from its commits and the blows that it took."""

from __future__ import annotations

BEGINS = 150.0
"""Seconds from the start of a command to its first commit, on an idle machine."""
STALLED = 90.0
"""Seconds from the last commit and the last blow on after which a run hangs, on an idle machine."""
HOLD_FIRE = 8.0
"""Seconds without a commit after which nothing is struck until there is one: who is killed faster
than a process starts can only wait, which shows nothing."""


class Pulse:
    """Of one command, from its start to its end. Times are seconds of one monotonic clock."""

    def __init__(self, now: float, commits: int) -> None:
        """`commits`: of the table, when the command was started."""
        self.begun = False
        """This command has committed rows."""
        self._commits = commits
        self._moved = now
        self._disturbed = now

    def take(self, now: float, commits: int) -> None:
        """So many commits has the table now."""
        if commits != self._commits:
            self._commits, self._moved, self.begun = commits, now, True

    def struck(self, until: float) -> None:
        """A blow that is over at `until`: what was paused is awake then."""
        self._disturbed = max(self._disturbed, until)

    def holds(self, now: float) -> bool:
        """Rows get through: it may be struck again."""
        return self.begun and now - self._moved <= HOLD_FIRE

    def fault(self, now: float, slowness: float) -> str:
        """Why this is not alive, or "". `slowness`: how many times longer than on an idle machine
        things take here."""
        quiet = now - max(self._moved, self._disturbed)
        if self.begun and quiet > STALLED * slowness:
            return f"no rows were committed for {quiet:.0f} s, with nothing struck meanwhile"
        if not self.begun and quiet > BEGINS * slowness:
            return f"no rows were committed within {quiet:.0f} s of the start"
        return ""
