//! Tests of `ringbolt-tune`.
