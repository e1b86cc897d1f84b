//! Stories of one shard, told with commits and effects.
