//! Measurements of audit-agent against a baseline of the same run.
