"""The audit trail: who saw and did what, in messages of PS3.15 A.5 that are chained."""
