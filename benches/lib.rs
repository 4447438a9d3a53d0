//! Shared set-up of the microbenchmarks; each benchmark is one file in `benches/`.
