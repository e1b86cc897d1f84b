//! What a workflow author writes: a stage in one file, a workflow in TOML.
