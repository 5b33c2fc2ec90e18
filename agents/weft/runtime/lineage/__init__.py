"""Telling other systems of a run: OpenLineage events, sent by the head."""
