"""Change evidence: what differs between two sides, and what that did to decisions."""
